//! Text in HTML. Whatever did not come from this source file goes through [`Text`].

use std::fmt::{self, Write};

/// A stranger's text, escaped for element content and for double-quoted attributes.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Direction marks could make an address read as another one; controls have no business on a page.
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    f.write_char('\u{fffd}')?;
                }
                control if control.is_control() => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_stranger_writes_becomes_markup() {
        assert_eq!(Text("<b a='1' c=\"2\">&").to_string(), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
        assert_eq!(Text("Zoë's app").to_string(), "Zoë&#39;s app");
    }

    #[test]
    fn text_cannot_turn_the_page_around() {
        assert_eq!(Text("moc.\u{202e}evil\n").to_string(), "moc.\u{fffd}evil\u{fffd}");
    }
}
