//! Text of the other side, made fit for faults, events and logs.

/// Longest quotation, in characters: a sentence or two of AWS, not a page of a proxy.
const MAX_CHARS: usize = 300;

/// From here on AWS repeats the request back to the caller, session token and signature included.
const ECHOES: [&str; 4] =
    ["The Canonical String", "The String-to-Sign", "Authorization=", "Authorization header: '"];

/// A SHA-256 or a signature in hexadecimal.
const HEX_DIGEST_LEN: usize = 64;

/// `text` on one line, at most 300 characters, without what a signature error echoes, without signatures and
/// without any of `secrets`.
pub fn quote(text: &str, secrets: &[&str]) -> String {
    let end = ECHOES.iter().filter_map(|echo| text.find(echo)).min().unwrap_or(text.len());
    let mut text = text[..end].to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, REDACTED);
    }
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.map(redact_digests).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// The text of a failed connection, with what helps when TLS does not trust the other side.
pub fn with_trust_hint(text: String) -> String {
    if text.contains("UnknownIssuer") {
        format!("{text} (does a proxy decrypt TLS here? set network.ca_bundle)")
    } else {
        text
    }
}

const REDACTED: &str = "[redacted]";

fn redact_digests(word: &str) -> String {
    let mut kept = String::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let is_hex = |c: char| c.is_ascii_hexdigit();
        let run = rest.find(|c| !is_hex(c)).unwrap_or(rest.len());
        kept.push_str(if run >= HEX_DIGEST_LEN { REDACTED } else { &rest[..run] });
        rest = &rest[run..];
        let gap = rest.find(is_hex).unwrap_or(rest.len());
        kept.push_str(&rest[..gap]);
        rest = &rest[gap..];
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_one_short_line() {
        assert_eq!(quote("  one\r\n\ttwo\u{1b}[2J ", &[]), "one two [2J");
        let long = "ä ".repeat(1000);
        assert_eq!(quote(&long, &[]).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_signature_error_loses_what_it_echoes() {
        let text = "The request signature we calculated does not match the signature you provided.\n\n\
                    The Canonical String for this request should have been\n'GET\nx-amz-security-token:CANARY";
        let quoted = quote(text, &[]);
        assert!(quoted.ends_with("you provided."), "{quoted}");
        let text =
            "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256 CANARY";
        assert!(!quote(text, &[]).contains("CANARY"));
    }

    #[test]
    fn secrets_and_digests_are_redacted_wherever_they_stand() {
        let signature = "0123456789abcdef".repeat(4);
        let quoted = quote(&format!("bad token <CANARY>, Signature={signature}, id 0abc"), &["CANARY"]);
        assert_eq!(quoted, "bad token <[redacted]>, Signature=[redacted], id 0abc");
    }
}
