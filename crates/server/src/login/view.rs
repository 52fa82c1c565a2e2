//! What the pages say.

use std::fmt::Write;

use axum::http::{StatusCode, header};
use url::Url;

use super::csrf::CsrfToken;
use super::html::Text;
use super::page::Page;

/// What a person is told about the client that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asking {
    /// The client's name.
    pub(super) client: String,
    /// What it wants, one sentence each.
    pub(super) wishes: Vec<String>,
}

/// The page on which a person signs in to a client.
pub(super) struct SignIn<'a> {
    /// Who asks for what.
    pub(super) asking: &'a Asking,
    /// Where the person is sent afterwards.
    pub(super) returns_to: &'a Url,
    /// The form's token.
    pub(super) csrf: &'a CsrfToken,
    /// What was typed before, or what the client suggests.
    pub(super) user_name: &'a str,
    /// What was wrong with it.
    pub(super) problem: Option<&'a str>,
}

impl SignIn<'_> {
    /// The page. Its form posts to the address it was served under, so the client's request travels along in the query.
    pub(super) fn page(&self) -> Page {
        let mut body = heading("Sign in");
        body += &problem(self.problem);
        body += &facts(self.asking, Some(&display_address(self.returns_to)));
        let _ = write!(
            body,
            "<form method=\"post\" autocomplete=\"on\">\n{}{}<button type=\"submit\">Sign in</button>\n</form>\n\
             <p class=\"hint\">If you did not start this yourself, close this page.</p>\n",
            csrf_field(self.csrf),
            credentials(self.user_name, true)
        );
        Page::new("Sign in", body)
            .header(header::SET_COOKIE, &self.csrf.set_cookie())
            // The answer to the form may be a redirect to the client.
            .leads_to(self.returns_to)
    }
}

/// The page that posts the answer to the client: by itself where scripts run, by its button everywhere. `address` is the
/// client's own spelling of `returns_to`.
pub(super) fn hand_over(returns_to: &Url, address: &str, fields: &[(&str, &str)]) -> Page {
    let succeeded = fields.iter().any(|(name, _)| *name == "code");
    let (title, sentence) = if succeeded {
        ("You are signed in", "Continue to return to")
    } else {
        ("The sign-in did not finish", "Continue to tell")
    };
    let mut body = heading(title);
    let _ = write!(
        body,
        "<p>{sentence} <code>{}</code>.</p>\n<form id=\"answer\" method=\"post\" action=\"{}\">\n",
        Text(&display_address(returns_to)),
        Text(address)
    );
    for (name, value) in fields {
        let _ = writeln!(body, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", Text(name), Text(value));
    }
    body += "<button type=\"submit\">Continue</button>\n</form>\n";
    Page::new(title, body).leads_to(returns_to).continues()
}

/// The page on which a person types the code that a device shows, and signs in.
pub(super) struct DeviceCode<'a> {
    /// The form's token.
    pub(super) csrf: &'a CsrfToken,
    /// What was typed before.
    pub(super) user_code: &'a str,
    /// What was typed before.
    pub(super) user_name: &'a str,
    /// What was wrong with it.
    pub(super) problem: Option<&'a str>,
}

impl DeviceCode<'_> {
    /// The page.
    pub(super) fn page(&self) -> Page {
        let mut body = heading("Sign in on another device");
        body += &problem(self.problem);
        let _ = write!(
            body,
            "<p>Type the code that your terminal or device shows, and sign in.</p>\n\
             <form method=\"post\" autocomplete=\"on\">\n{}\
             <label>Code <input class=\"code\" name=\"user_code\" value=\"{}\" required{} autocomplete=\"off\" \
             autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"32\"></label>\n\
             {}<button type=\"submit\">Next</button>\n</form>\n\
             <p class=\"hint\">Never type a code that somebody sent you: you would sign them in as yourself.</p>\n",
            csrf_field(self.csrf),
            Text(self.user_code),
            if self.user_code.is_empty() { " autofocus" } else { "" },
            credentials(self.user_name, !self.user_code.is_empty())
        );
        Page::new("Sign in on another device", body).header(header::SET_COOKIE, &self.csrf.set_cookie())
    }
}

/// The page on which a person who has signed in approves a device, or does not.
pub(super) struct DeviceApproval<'a> {
    /// Who asks for what.
    pub(super) asking: &'a Asking,
    /// The code the person typed.
    pub(super) user_code: &'a str,
    /// Who the person is.
    pub(super) user_name: &'a str,
    /// What stands for the sign-in of the page before.
    pub(super) ticket: &'a str,
    /// The form's token.
    pub(super) csrf: &'a CsrfToken,
}

impl DeviceApproval<'_> {
    /// The page.
    pub(super) fn page(&self) -> Page {
        let mut body = heading("Let this device in?");
        body += &facts(self.asking, None);
        let _ = write!(
            body,
            "<p>It will act as <strong>{}</strong>. Go on only if the device in front of you shows <code>{}</code> and \
             you started this yourself.</p>\n\
             <form method=\"post\">\n{}<input type=\"hidden\" name=\"ticket\" value=\"{}\">\n\
             <button type=\"submit\" name=\"decision\" value=\"approve\">Approve</button>\n\
             <button type=\"submit\" name=\"decision\" value=\"deny\" class=\"quiet\">Deny</button>\n</form>\n",
            Text(self.user_name),
            Text(self.user_code),
            csrf_field(self.csrf),
            Text(self.ticket),
        );
        Page::new("Let this device in?", body).header(header::SET_COOKIE, &self.csrf.set_cookie())
    }
}

/// A page that only says something.
pub(super) fn notice(title: &'static str, sentence: &str) -> Page {
    Page::new(title, format!("{}<p>{}</p>\n", heading(title), Text(sentence)))
}

/// A page that says what went wrong and what to do. Shown, never redirected: the address to return to is not trusted.
pub(super) fn refusal(status: StatusCode, sentence: &str) -> Page {
    notice("This sign-in cannot go on", sentence).status(status)
}

pub(super) fn heading(text: &str) -> String {
    format!("<h1>{}</h1>\n", Text(text))
}

fn problem(sentence: Option<&str>) -> String {
    sentence.map(|sentence| format!("<p class=\"problem\" role=\"alert\">{}</p>\n", Text(sentence))).unwrap_or_default()
}

fn facts(asking: &Asking, returns_to: Option<&str>) -> String {
    let mut list = format!("<dl>\n<dt>Application</dt><dd>{}</dd>\n", Text(&asking.client));
    list += "<dt>It will be able to</dt><dd><ul>";
    for wish in &asking.wishes {
        let _ = write!(list, "<li>{}</li>", Text(wish));
    }
    list += "</ul></dd>\n";
    if let Some(address) = returns_to {
        let _ = writeln!(list, "<dt>You return to</dt><dd><code>{}</code></dd>", Text(address));
    }
    list + "</dl>\n"
}

fn csrf_field(csrf: &CsrfToken) -> String {
    format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">\n", csrf.as_str())
}

fn credentials(user_name: &str, takes_focus: bool) -> String {
    // The cursor waits where something is missing.
    let focus = |wanted: bool| if wanted && takes_focus { " autofocus" } else { "" };
    format!(
        "<label>User name <input name=\"username\" value=\"{}\" required{} autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"256\"></label>\n\
         <label>Password <input name=\"password\" type=\"password\" required{} \
         autocomplete=\"current-password\" maxlength=\"1024\"></label>\n",
        Text(user_name),
        focus(user_name.is_empty()),
        focus(!user_name.is_empty()),
    )
}

/// An address as people should read it: without query and fragment, which can be long and mean nothing to them.
fn display_address(address: &Url) -> String {
    let mut shown = address.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;

    use super::*;

    async fn html(page: Page) -> String {
        let body = page.into_response().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn hostile() -> Asking {
        Asking { client: "<script>alert(1)</script>".to_owned(), wishes: vec!["\"><img src=x>".to_owned()] }
    }

    fn address() -> Url {
        Url::parse("http://localhost:8400/?\"><script>").unwrap()
    }

    #[tokio::test]
    async fn a_hostile_client_name_stays_text_on_every_page() {
        let (asking, csrf) = (hostile(), CsrfToken::of(&HeaderMap::new()));
        let attack = "\" autofocus onfocus=alert(1) <x>";
        let (user_name, user_code, ticket, problem) = (attack, attack, attack, Some(attack));
        let pages = [
            SignIn { asking: &asking, returns_to: &address(), csrf: &csrf, user_name, problem }.page(),
            DeviceCode { csrf: &csrf, user_code, user_name, problem }.page(),
            DeviceApproval { asking: &asking, user_code, user_name, ticket, csrf: &csrf }.page(),
            notice("Title", attack),
            hand_over(&address(), attack, &[(attack, attack)]),
        ];
        for page in pages {
            let html = html(page).await;
            for markup in ["<script>", "<img", "<x>", "\" autofocus onfocus"] {
                assert!(!html.contains(markup), "{markup} in {html}");
            }
        }
    }

    #[tokio::test]
    async fn a_person_sees_who_asks_for_what_and_where_it_goes() {
        let asking = Asking { client: "Azure CLI".to_owned(), wishes: vec!["manage resources as you".to_owned()] };
        let csrf = CsrfToken::of(&HeaderMap::new());
        let returns_to = Url::parse("http://localhost:8400/").unwrap();
        let page =
            SignIn { asking: &asking, returns_to: &returns_to, csrf: &csrf, user_name: "", problem: None }.page();
        insta::assert_snapshot!(html(page).await.replace(csrf.as_str(), "[token]"));
    }

    #[tokio::test]
    async fn the_hand_over_works_without_scripts_and_keeps_the_clients_spelling() {
        let (address, fields) = ("http://localhost:8400", [("code", "c"), ("state", "s")]);
        let html = html(hand_over(&Url::parse(address).unwrap(), address, &fields)).await;
        assert!(html.contains("<form id=\"answer\" method=\"post\" action=\"http://localhost:8400\">"), "{html}");
        assert!(html.contains("<button type=\"submit\">Continue</button>"), "{html}");
        assert!(html.contains("<input type=\"hidden\" name=\"state\" value=\"s\">"), "{html}");
    }
}
