//! Categories of connections and the groups they are shown in (arm-models.md 4.1). The list is open: what is not in it is
//! kept as it came.

/// The category in the wire's spelling; clients write them in any case.
pub(super) fn canonical(asked: &str) -> String {
    let known = GROUPS.iter().flat_map(|(_, categories)| *categories).find(|known| known.eq_ignore_ascii_case(asked));
    known.map_or_else(|| asked.to_owned(), |known| (*known).to_owned())
}

/// The group of a category.
pub(super) fn group(category: &str) -> &'static str {
    let found = GROUPS.iter().find(|(_, categories)| categories.contains(&category));
    found.map_or("ServicesAndApps", |(group, _)| group)
}

#[rustfmt::skip]
const GROUPS: &[(&str, &[&str])] = &[
    ("Azure", &[
        "ContainerRegistry", "AzureSqlDb", "AzureSynapseAnalytics", "AzureMySqlDb", "AzurePostgresDb",
        "ADLSGen2", "AzureBlob", "AzureOneLake", "CosmosDb", "CosmosDbMongoDbApi", "AzureDataExplorer",
        "AzureMariaDb", "AzureDatabricksDeltaLake", "AzureSqlMi", "AzureTableStorage", "ApiManagement",
        "AppConfig", "AppInsights", "AzureContainerAppEnvironment", "AzureKeyVault", "AzureStorageAccount",
        "Databricks", "MicrosoftFabric",
    ]),
    ("AzureAI", &[
        "AzureOpenAI", "AIServices", "CognitiveSearch", "CognitiveService", "OpenAI", "Serp", "BingLLMSearch",
        "Serverless", "ManagedOnlineEndpoint", "GroundingWithBingSearch", "GroundingWithCustomSearch",
        "ModelGateway", "RemoteA2A", "RemoteTool",
    ]),
    ("Database", &[
        "Snowflake", "Redis", "AmazonRdsForOracle", "AmazonRdsForSqlServer", "AmazonRedshift", "Db2", "Drill",
        "GoogleBigQuery", "Greenplum", "Hbase", "Hive", "Impala", "Informix", "MariaDb", "MicrosoftAccess",
        "MySql", "Netezza", "Oracle", "Phoenix", "PostgreSql", "Presto", "SapOpenHub", "SapBw", "SapHana",
        "SapTable", "Spark", "SqlServer", "Sybase", "Teradata", "Vertica", "Pinecone", "Elasticsearch",
    ]),
    ("NoSQL", &[
        "Cassandra", "Couchbase", "MongoDbV2", "MongoDbAtlas",
    ]),
    ("File", &[
        "S3", "AmazonS3Compatible", "FileServer", "FtpServer", "GoogleCloudStorage", "Hdfs",
        "OracleCloudStorage", "Sftp",
    ]),
    ("GenericProtocol", &[
        "PythonFeed", "Git", "ApiKey", "CustomKeys", "GenericHttp", "ODataRest", "Odbc", "GenericRest",
        "GenericContainerRegistry",
    ]),
    ("ServicesAndApps", &[
        "AmazonMws", "Concur", "Dynamics", "DynamicsAx", "DynamicsCrm", "GoogleAdWords", "Hubspot", "Jira",
        "Magento", "Marketo", "Office365", "Eloqua", "Responsys", "OracleServiceCloud", "PayPal",
        "QuickBooks", "Salesforce", "SalesforceServiceCloud", "SalesforceMarketingCloud",
        "SapCloudForCustomer", "SapEcc", "ServiceNow", "SharePointOnlineList", "Shopify", "Square",
        "WebTable", "Xero", "Zoho", "PowerPlatformEnvironment", "Sharepoint",
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_known_in_any_case_and_the_list_is_open() {
        assert_eq!(canonical("AzureOpenAi"), "AzureOpenAI");
        assert_eq!(canonical("pythonfeed"), "PythonFeed");
        assert_eq!(canonical("Tomorrow"), "Tomorrow");
        assert_eq!(group("AzureOpenAI"), "AzureAI");
        assert_eq!(group("Tomorrow"), "ServicesAndApps");
    }

    #[test]
    fn every_category_of_the_reference_is_in_one_group() {
        let mut all: Vec<&str> = GROUPS.iter().flat_map(|(_, categories)| categories.iter().copied()).collect();
        assert_eq!(all.len(), COUNT);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), COUNT);
    }

    const COUNT: usize = 120;
}
