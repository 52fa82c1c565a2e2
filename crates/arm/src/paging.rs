//! Lists in pages: how many, from where, and the link to the rest.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{ArmError, shown};

/// Where the next page begins, in a form that clients hand back without looking inside.
///
/// The token names the last key of the page before and the list it belongs to. Its check sum finds accidents and clumsy
/// editing, and it is not a secret: a caller who forges one reaches only what the list would have shown him anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skiptoken {
    after: String,
}

/// The paging parameters of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// `$top`: at most this many items.
    pub top: Option<u32>,
    /// Begin after this key.
    pub after: Option<String>,
}

impl Skiptoken {
    /// A token for the page that follows the item with this key.
    pub fn after(key: impl Into<String>) -> Self {
        Self { after: key.into() }
    }

    /// The key of the last item of the page before.
    pub fn key(&self) -> &str {
        &self.after
    }

    /// The text for the link. `list` names what is being listed (such as the lower-cased path and the filter); a token
    /// is good for that list only.
    pub fn encode(&self, list: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(check_sum(list, &self.after));
        bytes.extend(self.after.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that was made for the same `list`.
    ///
    /// # Errors
    /// 400 `InvalidSkipToken` for anything else.
    pub fn decode(text: &str, list: &str) -> Result<Self, ArmError> {
        Self::read(text, list).ok_or_else(|| {
            let message = format!(
                "The $skiptoken '{}' is not valid for this list; follow nextLink as it is, or start over without it.",
                shown(text)
            );
            ArmError::new(400, "InvalidSkipToken", message).with_target("$skiptoken")
        })
    }

    fn read(text: &str, list: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (sum, after) = rest.split_first_chunk::<8>()?;
        let after = std::str::from_utf8(after).ok()?;
        (*version == VERSION && *sum == check_sum(list, after)).then(|| Self::after(after))
    }
}

impl PageRequest {
    /// Reads `$top` and `$skiptoken` (names in any case; `$skip` is what machine learning calls the token) from decoded
    /// query parameters. `list` is as in [`Skiptoken::encode`].
    ///
    /// # Errors
    /// 400 when `$top` is not a whole number from 1 to 1000, the token is not one of this list, or either comes twice.
    pub fn from_query<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
        list: &str,
    ) -> Result<Self, ArmError> {
        let mut page = Self::default();
        for (name, value) in parameters {
            let twice = if name.eq_ignore_ascii_case("$top") {
                page.top.replace(read_top(value)?).is_some()
            } else if is_token_name(name) {
                page.after.replace(Skiptoken::decode(value, list)?.after).is_some()
            } else {
                false
            };
            if twice {
                let message = format!("The query parameter {name} is given more than once; send it once.");
                return Err(ArmError::new(400, "InvalidQueryParameter", message).with_target(name));
            }
        }
        Ok(page)
    }
}

/// The absolute URL of the next page: the same path and parameters, with the token in place of an older one.
///
/// `origin` is `https://host:port`, `raw_path` the path as it came in (still percent-encoded), `parameters` the decoded
/// query, and `token` what [`Skiptoken::encode`] gave.
pub fn next_link<'a>(
    origin: &str,
    raw_path: &str,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    token: &str,
) -> String {
    let kept = parameters.into_iter().filter(|(name, _)| !is_token_name(name));
    let mut query: Vec<String> = kept.map(|(name, value)| format!("{}={}", Encoded(name), Encoded(value))).collect();
    query.push(format!("$skiptoken={}", Encoded(token)));
    format!("{origin}{raw_path}?{}", query.join("&"))
}

struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        utf8_percent_encode(self.0, QUERY).fmt(formatter)
    }
}

fn is_token_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("$skiptoken") || name.eq_ignore_ascii_case("$skip")
}

fn read_top(text: &str) -> Result<u32, ArmError> {
    // `parse` alone would also take "+5".
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(top) if digits && (1..=MAX_TOP).contains(&top) => Ok(top),
        _ => {
            let message = format!("The $top '{}' is not a whole number from 1 to {MAX_TOP}.", shown(text));
            Err(ArmError::new(400, "InvalidQueryParameter", message).with_target("$top"))
        }
    }
}

/// 64-bit FNV-1a over list and key; the separator occurs in neither.
fn check_sum(list: &str, after: &str) -> [u8; 8] {
    let bytes = list.bytes().chain([0xFF]).chain(after.bytes());
    bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)).to_be_bytes()
}

const VERSION: u8 = 1;
const MAX_TOP: u32 = 1000;
/// RFC 9923 section 5.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// Everything but RFC 3986's unreserved characters, and `$`, which clients write plainly in parameter names.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'$');

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = "/subscriptions/s/resources";

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let token = Skiptoken::after("/subscriptions/s/resourcegroups/a").encode(LIST);
        assert_eq!(Skiptoken::decode(&token, LIST).unwrap().key(), "/subscriptions/s/resourcegroups/a");
        let error = Skiptoken::decode(&token, "/subscriptions/other/resources").unwrap_err();
        assert_eq!((error.status, &*error.code), (400, "InvalidSkipToken"));
    }

    #[test]
    fn a_query_is_read_in_any_case_and_once() {
        let token = Skiptoken::after("k").encode(LIST);
        let page =
            PageRequest::from_query([("$TOP", "5"), ("api-version", "x"), ("$skipToken", &token)], LIST).unwrap();
        assert_eq!(page, PageRequest { top: Some(5), after: Some("k".into()) });
        assert!(PageRequest::from_query([("$top", "5"), ("$Top", "5")], LIST).is_err());
        assert!(PageRequest::from_query([("$skip", &*token), ("$skiptoken", &*token)], LIST).is_err());
    }

    #[test]
    fn top_is_from_1_to_1000() {
        for top in ["1", "1000", "007"] {
            assert!(PageRequest::from_query([("$top", top)], LIST).is_ok(), "{top}");
        }
        for top in ["", "0", "1001", "-1", "+5", "5.0", " 5", "five", "99999999999999999999", "٥"] {
            let error = PageRequest::from_query([("$top", top)], LIST).expect_err(top);
            assert_eq!((error.status, error.target.as_deref()), (400, Some("$top")));
        }
    }

    #[test]
    fn the_link_keeps_the_other_parameters() {
        assert_eq!(
            next_link(
                "https://localhost:8443",
                "/subscriptions/s/resources",
                [("api-version", "2024-11-01"), ("$filter", "name eq 'a&b'"), ("$skiptoken", "old"), ("$top", "2")],
                "new"
            ),
            "https://localhost:8443/subscriptions/s/resources?api-version=2024-11-01&$filter=name%20eq%20%27a%26b%27&$top=2&$skiptoken=new"
        );
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(key in "\\PC{0,40}", at in any::<prop::sample::Index>(), new in "[A-Za-z0-9_=%-]") {
            let token = Skiptoken::after(&key).encode(LIST);
            prop_assert_eq!(Skiptoken::decode(&token, LIST).unwrap(), Skiptoken::after(key));
            let at = at.index(token.len());
            let forged = format!("{}{new}{}", &token[..at], &token[at + 1..]);
            prop_assume!(forged != token);
            prop_assert!(Skiptoken::decode(&forged, LIST).is_err());
            prop_assert!(Skiptoken::decode(&token[..at], LIST).is_err());
        }

        #[test]
        fn arbitrary_text_is_refused_without_a_panic(text in "\\PC{0,60}") {
            prop_assert!(Skiptoken::decode(&text, LIST).is_err());
        }

        #[test]
        fn a_parameter_survives_the_link(value in "\\PC{0,20}") {
            let link = next_link("https://h", "/p", [("v", value.as_str())], "t");
            let encoded = link.strip_prefix("https://h/p?v=").unwrap().strip_suffix("&$skiptoken=t").unwrap();
            prop_assert!(!encoded.contains(['&', '=', '#', '+', ' ']));
            prop_assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), value);
        }
    }
}
