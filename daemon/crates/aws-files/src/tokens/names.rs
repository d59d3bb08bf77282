//! Which file stands for what.

use sha1::{Digest as _, Sha1};
use stormtunnel_model::SignInName;

/// Name of the file that holds a sign-in's token.
pub fn file_name(sign_in: &SignInName) -> String {
    hashed(sign_in.cache_key())
}

/// The sign-in that a file of that name stands for: one of those that are known, or that of the start URL which stands in
/// the file.
pub fn sign_in_of(name: &str, known: &[&SignInName], start_url: Option<&str>) -> Option<SignInName> {
    let named = known.iter().copied().find(|sign_in| file_name(sign_in) == name);
    named.cloned().or_else(|| start_url?.parse().ok().filter(|sign_in| file_name(sign_in) == name))
}

/// The name of the file for a key: its SHA-1 in hexadecimal.
pub(crate) fn hashed(key: &str) -> String {
    format!("{}.json", hex::encode(Sha1::digest(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SignInName {
        text.parse().unwrap()
    }

    #[test]
    fn tokens_lie_where_the_aws_cli_looks_for_them() {
        for (sign_in, file) in [
            ("corp", "ee0bfd2552fbd840c02cc48b6e823320543c450f.json"),
            ("noscope", "2fdd52d02cb9b6f81aca5f06a9d7fa73ee59448f.json"),
            ("https://d-1234567890.awsapps.com/start", "7487b5b67d5fa1132cf33fa93ae51ef38cc37752.json"),
        ] {
            assert_eq!(file_name(&name(sign_in)), file);
        }
    }

    #[test]
    fn three_spellings_of_a_start_url_are_three_files() {
        let urls =
            ["https://x.awsapps.com/start", "https://x.awsapps.com/start/", "https://x.awsapps.com/start/#"];
        let files: std::collections::BTreeSet<_> = urls.map(|url| file_name(&name(url))).into();
        assert_eq!(files.len(), 3);
    }

    #[test]
    fn a_file_stands_for_a_known_sign_in_or_for_its_own_start_url() {
        let (corp, url) = (name("corp"), "https://x.awsapps.com/start");
        assert_eq!(sign_in_of(&file_name(&corp), &[&corp], Some(url)), Some(corp.clone()));
        assert_eq!(sign_in_of(&file_name(&name(url)), &[&corp], Some(url)), Some(name(url)));
        assert_eq!(sign_in_of(&file_name(&name("gone")), &[&corp], Some(url)), None);
        assert_eq!(sign_in_of("botocore-client-id-us-east-1.json", &[&corp], None), None);
    }
}
