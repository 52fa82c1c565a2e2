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
    /// The authorization request as it came, to be posted along.
    pub(super) request: &'a str,
    /// The form's token.
    pub(super) csrf: &'a CsrfToken,
    /// What was typed before.
    pub(super) user_name: &'a str,
    /// What was wrong with it.
    pub(super) problem: Option<&'a str>,
}

impl SignIn<'_> {
    /// The page; its form posts to the address it was served under.
    pub(super) fn page(&self) -> Page {
        let mut body = heading(&format!("Sign in to {}", self.asking.client));
        body += &problem(self.problem);
        body += &facts(self.asking, Some(&display_address(self.returns_to)));
        let _ = write!(
            body,
            "<form method=\"post\" autocomplete=\"on\">\n{}<input type=\"hidden\" name=\"request\" value=\"{}\">\n{}\
             <button type=\"submit\">Sign in</button>\n</form>\n\
             <p class=\"hint\">If you did not start this yourself, close this page.</p>\n",
            csrf_field(self.csrf),
            Text(self.request),
            credentials(self.user_name)
        );
        Page::new("Sign in", body)
            .header(header::SET_COOKIE, &self.csrf.set_cookie())
            // The answer to the form may be a redirect to the client.
            .leads_to(self.returns_to)
    }
}

/// The page that posts the answer to the client: by itself where scripts run, by its button everywhere.
pub(super) fn hand_over(returns_to: &Url, fields: &[(&str, &str)], succeeded: bool) -> Page {
    let (title, sentence) = if succeeded {
        ("You are signed in", "Continue to return to")
    } else {
        ("Sign-in did not finish", "Continue to tell")
    };
    let mut body = heading(title);
    let _ = write!(
        body,
        "<p>{sentence} <code>{}</code>.</p>\n<form id=\"answer\" method=\"post\" action=\"{}\">\n",
        Text(&display_address(returns_to)),
        Text(returns_to.as_str())
    );
    for (name, value) in fields {
        let _ = writeln!(body, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", Text(name), Text(value));
    }
    body += "<button type=\"submit\">Continue</button>\n</form>\n";
    Page::new(title, body).leads_to(returns_to).continues()
}

/// The page on which a person types the code that a device shows.
pub(super) fn device_code(csrf: &CsrfToken, typed: &str, trouble: Option<&str>) -> Page {
    let mut body = heading("Connect a device");
    body += &problem(trouble);
    let _ = write!(
        body,
        "<p>Type the code that your terminal or device shows.</p>\n<form method=\"post\">\n{}\
         <label>Code <input class=\"code\" name=\"user_code\" value=\"{}\" required autofocus autocomplete=\"off\" \
         autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"32\"></label>\n\
         <button type=\"submit\">Next</button>\n</form>\n\
         <p class=\"hint\">Never type a code that somebody sent you: you would sign them in as yourself.</p>\n",
        csrf_field(csrf),
        Text(typed)
    );
    Page::new("Connect a device", body).header(header::SET_COOKIE, &csrf.set_cookie())
}

/// The page on which a person approves a device, or does not.
pub(super) struct DeviceApproval<'a> {
    /// Who asks for what.
    pub(super) asking: &'a Asking,
    /// The code the person typed.
    pub(super) user_code: &'a str,
    /// The form's token.
    pub(super) csrf: &'a CsrfToken,
    /// What was typed before.
    pub(super) user_name: &'a str,
    /// What was wrong with it.
    pub(super) problem: Option<&'a str>,
}

impl DeviceApproval<'_> {
    /// The page.
    pub(super) fn page(&self) -> Page {
        let mut body = heading(&format!("Sign in to {} on another device", self.asking.client));
        body += &problem(self.problem);
        body += &facts(self.asking, None);
        let _ = write!(
            body,
            "<p>Go on only if the device in front of you shows <code>{code}</code> and you started it yourself.</p>\n\
             <form method=\"post\" autocomplete=\"on\">\n{}<input type=\"hidden\" name=\"user_code\" value=\"{code}\">\n{}\
             <button type=\"submit\" name=\"decision\" value=\"approve\">Sign in and approve</button>\n\
             <button type=\"submit\" name=\"decision\" value=\"deny\" class=\"quiet\" formnovalidate>Not me: deny</button>\n\
             </form>\n",
            csrf_field(self.csrf),
            credentials(self.user_name),
            code = Text(self.user_code),
        );
        Page::new("Approve a device", body).header(header::SET_COOKIE, &self.csrf.set_cookie())
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

fn heading(text: &str) -> String {
    format!("<h1>{}</h1>\n", Text(text))
}

fn problem(sentence: Option<&str>) -> String {
    sentence.map(|sentence| format!("<p class=\"problem\" role=\"alert\">{}</p>\n", Text(sentence))).unwrap_or_default()
}

fn facts(asking: &Asking, returns_to: Option<&str>) -> String {
    let mut list = format!("<dl>\n<dt>Asked by</dt><dd>{}</dd>\n", Text(&asking.client));
    list += "<dt>It wants to</dt><dd><ul>";
    for wish in &asking.wishes {
        let _ = write!(list, "<li>{}</li>", Text(wish));
    }
    list += "</ul></dd>\n";
    if let Some(address) = returns_to {
        let _ = writeln!(list, "<dt>Then you return to</dt><dd><code>{}</code></dd>", Text(address));
    }
    list + "</dl>\n"
}

fn csrf_field(csrf: &CsrfToken) -> String {
    format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">\n", csrf.as_str())
}

fn credentials(user_name: &str) -> String {
    // The cursor waits where something is missing.
    let (name_focus, password_focus) = if user_name.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    format!(
        "<label>User name <input name=\"username\" value=\"{}\" required{name_focus} autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"256\"></label>\n\
         <label>Password <input name=\"password\" type=\"password\" required{password_focus} \
         autocomplete=\"current-password\" maxlength=\"1024\"></label>\n",
        Text(user_name)
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
        let (asking, csrf) = (hostile(), CsrfToken::of(&Default::default()));
        let attack = "\" autofocus onfocus=alert(1) <x>";
        let sign_in = SignIn {
            asking: &asking,
            returns_to: &address(),
            request: attack,
            csrf: &csrf,
            user_name: attack,
            problem: Some(attack),
        };
        let approval = DeviceApproval {
            asking: &asking,
            user_code: attack,
            csrf: &csrf,
            user_name: attack,
            problem: Some(attack),
        };
        let pages = [
            sign_in.page(),
            approval.page(),
            device_code(&csrf, attack, Some(attack)),
            notice("Title", attack),
            hand_over(&address(), &[(attack, attack)], true),
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
        let csrf = CsrfToken::of(&Default::default());
        let returns_to = Url::parse("http://localhost:8400/").unwrap();
        let sign_in = SignIn {
            asking: &asking,
            returns_to: &returns_to,
            request: "client_id=x",
            csrf: &csrf,
            user_name: "",
            problem: None,
        };
        let html = html(sign_in.page()).await.replace(csrf.as_str(), "[token]");
        insta::assert_snapshot!(html);
    }

    #[tokio::test]
    async fn the_hand_over_works_without_scripts() {
        let html =
            html(hand_over(&Url::parse("http://localhost:8400/").unwrap(), &[("code", "c"), ("state", "s")], true))
                .await;
        assert!(html.contains("<form id=\"answer\" method=\"post\" action=\"http://localhost:8400/\">"), "{html}");
        assert!(html.contains("<button type=\"submit\">Continue</button>"), "{html}");
        assert!(html.contains("<input type=\"hidden\" name=\"state\" value=\"s\">"), "{html}");
    }
}
