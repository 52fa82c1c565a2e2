//! The `api-version` of a request: a date, perhaps a preview.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, date};

use crate::error::ArmError;

/// A version of an API, ordered by date; of one date, previews come before the stable one.
///
/// Bastide accepts every date from 2014-01-01 on for every type, because clients name very new ones next to very old
/// ones; what differs between versions is decided where a body is written, by comparing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiVersion {
    date: Date,
    stage: Stage,
}

/// Ordered from least to most finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Stage {
    PrivatePreview,
    Alpha,
    Beta,
    Preview,
    Stable,
}

impl ApiVersion {
    /// Reads `2024-10-01` or `2024-10-01-preview` (also `-alpha`, `-beta`, `-privatepreview`), in any case.
    ///
    /// # Errors
    /// 400 `InvalidApiVersionParameter` for another syntax, a day that does not exist, or a date before 2014.
    pub fn parse(text: &str) -> Result<Self, ArmError> {
        Self::read(text).ok_or_else(|| ArmError::invalid_api_version(text))
    }

    /// Finds the version among the (decoded) parameters of a query; the name of the parameter is case-insensitive.
    ///
    /// # Errors
    /// 400 `MissingApiVersionParameter` when there is none or it is empty, `InvalidApiVersionParameter` when there are
    /// two, which two readers could resolve differently, or it cannot be parsed.
    pub fn from_query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ArmError> {
        let mut given =
            parameters.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("api-version")).map(|(_, value)| value);
        match (given.next(), given.next()) {
            (None | Some(""), None) => Err(ArmError::missing_api_version()),
            (Some(text), None) => Self::parse(text),
            (_, Some(_)) => Err(ArmError::new(
                400,
                "InvalidApiVersionParameter",
                "The query parameter api-version is given more than once; send it once.",
            )
            .with_target("api-version")),
        }
    }

    /// The date of the version.
    pub fn date(&self) -> Date {
        self.date
    }

    /// Whether this is anything but a stable version.
    pub fn is_preview(&self) -> bool {
        self.stage != Stage::Stable
    }

    fn read(text: &str) -> Option<Self> {
        let (day, stage) = match text.char_indices().nth(DATE_LENGTH) {
            None => (text, Stage::Stable),
            Some((at, _)) => {
                let (day, suffix) = text.split_at_checked(at)?;
                (day, Stage::read(suffix)?)
            }
        };
        // jiff would read other ISO 8601 spellings too, all of another length; the wire knows exactly one.
        if day.len() != DATE_LENGTH {
            return None;
        }
        let date = Date::from_str(day).ok()?;
        (date >= EARLIEST).then_some(Self { date, stage })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.date, self.stage.suffix())
    }
}

impl FromStr for ApiVersion {
    type Err = ArmError;

    fn from_str(text: &str) -> Result<Self, ArmError> {
        Self::parse(text)
    }
}

impl Stage {
    fn read(suffix: &str) -> Option<Self> {
        [Self::PrivatePreview, Self::Alpha, Self::Beta, Self::Preview]
            .into_iter()
            .find(|stage| stage.suffix().eq_ignore_ascii_case(suffix))
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::PrivatePreview => "-privatepreview",
            Self::Alpha => "-alpha",
            Self::Beta => "-beta",
            Self::Preview => "-preview",
            Self::Stable => "",
        }
    }
}

/// Resource Manager itself began with 2014-04-01; see DESIGN, "api-version".
const EARLIEST: Date = date(2014, 1, 1);
/// Of `YYYY-MM-DD`.
const DATE_LENGTH: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> ApiVersion {
        ApiVersion::parse(text).unwrap()
    }

    #[test]
    fn dates_and_previews_are_read_and_written_back() {
        for text in ["2014-01-01", "2024-10-01", "2024-10-01-preview", "2026-09-01-beta", "2020-02-29-privatepreview"] {
            assert_eq!(version(text).to_string(), text);
        }
        assert_eq!(version("2024-10-01-PREVIEW").to_string(), "2024-10-01-preview");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "latest",
            "2013-12-31",
            "2024-13-01",
            "2023-02-29",
            "2024-1-1",
            "2024-10-01-",
            "2024-10-01-final",
            "20241001",
            " 2024-10-01",
            "2024-10-01 ",
            "2024-10-01preview",
            "+02024-10-01",
            "2024-10-01T00:00:00",
            "２０２４-10-01",
            "2024-10-01\0",
        ] {
            let error = ApiVersion::parse(text).expect_err(text);
            assert_eq!((error.status, &*error.code), (400, "InvalidApiVersionParameter"), "{text}");
        }
    }

    #[test]
    fn order_is_by_date_then_by_stage() {
        let mut versions = ["2024-10-01", "2025-01-01-preview", "2024-10-01-preview", "2014-04-01"].map(version);
        versions.sort();
        assert_eq!(
            versions.map(|v| v.to_string()),
            ["2014-04-01", "2024-10-01-preview", "2024-10-01", "2025-01-01-preview"]
        );
        assert!(version("2024-10-01-alpha").is_preview() && !version("2024-10-01").is_preview());
    }

    #[test]
    fn a_query_names_it_exactly_once() {
        let code = |query: &[(&str, &str)]| ApiVersion::from_query(query.iter().copied()).unwrap_err().code.to_string();
        assert_eq!(
            ApiVersion::from_query([("$top", "1"), ("API-Version", "2024-10-01")]).unwrap(),
            version("2024-10-01")
        );
        assert_eq!(code(&[]), "MissingApiVersionParameter");
        assert_eq!(code(&[("api-version", "")]), "MissingApiVersionParameter");
        assert_eq!(code(&[("api-version", "2024-10-01"), ("Api-Version", "2014-04-01")]), "InvalidApiVersionParameter");
    }
    proptest! {
        #[test]
        fn what_is_accepted_has_one_spelling_but_for_case(
            text in "[+-]?[0-9TW:-]{7,12}|(20[0-9]{2}-[01][0-9]-[0-3][0-9])(-(preview|ALPHA|Beta|privatepreview))?|\\PC{0,12}"
        ) {
            if let Ok(version) = ApiVersion::parse(&text) {
                prop_assert_eq!(version.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}
