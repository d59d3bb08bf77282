//! Start URLs as they are shown and sent.

/// `url` in the form in which two spellings of one portal are equal: without a fragment and slashes at the end, scheme
/// and host in lower case. For display, for the API and to find what belongs together; the name of a sign-in is the text
/// as it was written.
pub fn normalized(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(url, _)| url).trim_end_matches('/');
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    format!("{}{}", url[..path].to_ascii_lowercase(), &url[path..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_portal_is_one() {
        for url in
            ["https://x.awsapps.com/start", "https://x.awsapps.com/start/", "https://x.awsapps.com/start/#"]
        {
            assert_eq!(normalized(url), "https://x.awsapps.com/start");
            assert_eq!(normalized(&format!("{url}/")), "https://x.awsapps.com/start");
        }
        assert_eq!(normalized("HTTPS://X.awsapps.com/Start"), "https://x.awsapps.com/Start");
        assert_eq!(normalized("https://x.awsapps.com"), "https://x.awsapps.com");
        assert_eq!(normalized("https://"), "https:");
        assert_eq!(normalized(""), "");
    }
}
