//! What the browser shows when it comes back: a few words, without anything that it would load.

use stormtunnel_engine::sign_in::classify::LoginFailure;
use stormtunnel_model::SignInName;

/// An answer of HTTP with a page.
pub(super) struct Page {
    status: &'static str,
    title: &'static str,
    /// One paragraph a line.
    text: String,
}

impl Page {
    /// The code is here.
    pub(super) fn done() -> Self {
        let text = "You may close this window. StormTunnel goes on by itself.";
        Self { status: "200 OK", title: "The login is done", text: text.to_owned() }
    }

    /// There will be none.
    pub(super) fn failed(failure: &LoginFailure, sign_in: &SignInName) -> Self {
        let why = failure.fault(sign_in).detail;
        let text = format!("{why}\nYou may close this window, and try again with stctl sso login.");
        Self { status: "400 Bad Request", title: "The login failed", text }
    }

    /// It asked for something else.
    pub(super) fn nothing_here() -> Self {
        let text = "StormTunnel waits here for one login, and for nothing else.";
        Self { status: "404 Not Found", title: "There is nothing here", text: text.to_owned() }
    }

    /// What came is no request.
    pub(super) fn not_understood() -> Self {
        let text = "This is no request that StormTunnel understands.";
        Self { status: "400 Bad Request", title: "There is nothing here", text: text.to_owned() }
    }

    /// The whole answer.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let title = self.title;
        let text: String = escaped(&self.text).lines().map(|line| format!("<p>{line}</p>")).collect();
        let body = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body><h1>{title}</h1>{text}</body></html>\n"
        );
        // The address holds the code: no page, cache or server is to learn it.
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n",
            self.status,
            body.len()
        );
        [head, body].concat().into_bytes()
    }
}

/// What came with an address must not become a part of the page's own text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_came_with_the_address_is_markup() {
        let text = "<script>alert(\"&\")</script>".to_owned();
        let page = Page { status: "400 Bad Request", title: "The login failed", text };
        let shown = String::from_utf8(page.bytes()).unwrap();
        assert!(shown.contains("<p>&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;</p>"), "{shown}");
    }
}
