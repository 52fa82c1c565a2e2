//! One suite of behaviour, run against both engines.
//!
//! On SQLite every function is a test of its own. On PostgreSQL they are one test, so that they share one server; it is
//! the server that `BASTIDE_TEST_POSTGRES` names, or a private one.

mod suite;
mod support;

use support::Database;
use support::cluster::Cluster;

macro_rules! suite {
    ($($file:ident: $($name:ident),+ $(,)?;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::suite::$file::$name(&super::Database::sqlite()).await;
                }
            )+)+
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres() {
            let cluster = match Cluster::start().await {
                Ok(cluster) => cluster,
                Err(reason) => {
                    eprintln!("SKIP: the store's suite did not run on PostgreSQL: {reason}");
                    return;
                }
            };
            $($(
                eprintln!("postgres: {}", stringify!($name));
                let database = cluster.database(stringify!($name)).await;
                suite::$file::$name(&database).await;
            )+)+
        }
    };
}

suite! {
    resources:
        a_resource_comes_back_as_it_was_committed,
        a_second_put_keeps_who_made_it_and_changes_the_rest,
        a_put_never_replaces_another_incarnation,
        pages_follow_each_other_in_the_order_of_bytes,
        lists_narrow_by_type_name_listing_and_tag,
        children_of_a_parent_are_a_type_under_a_prefix,
        tags_are_counted_by_name_in_any_case_and_by_exact_value,
        deleting_takes_tags_and_secrets_along,
        a_nul_character_is_refused_alike_everywhere;
}
