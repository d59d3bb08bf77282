//! A profile that is in neither file, and those that may have been meant.

use std::path::Path;

use stormtunnel_model::{Fault, FaultKind, Profile};

/// Most names that are listed.
const MOST: usize = 5;

/// The fault of whoever asks for a profile that is not among `names`: with the `files` looked in, and the nearest names there
/// are.
pub fn profile_not_found<'a>(
    wanted: &Profile,
    names: impl IntoIterator<Item = &'a str>,
    files: &[&Path],
) -> Fault {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let alternatives = alternatives(wanted.as_str(), &names);
    let detail = match files.is_empty() {
        true => alternatives,
        false => format!("looked for in {}; {alternatives}", files.join(" and ")),
    };
    Fault::new(FaultKind::ProfileNotFound { profile: wanted.to_string() }, detail)
}

fn alternatives(wanted: &str, names: &[&str]) -> String {
    let distance = |name: &&str| strsim::damerau_levenshtein(name, wanted);
    // Two typing errors, or three in a long name.
    let tolerance = (wanted.len() / 4).clamp(2, 3);
    let mut near: Vec<&str> = names.to_owned();
    near.retain(|name| distance(name) <= tolerance || name.contains(wanted));
    near.sort_by_key(distance);
    let listed = |names: &[&str]| names[..names.len().min(MOST)].join(", ");
    if names.is_empty() {
        "there is no profile at all".to_owned()
    } else if near.is_empty() {
        format!("there are {}{}", listed(names), if names.len() > MOST { ", …" } else { "" })
    } else {
        format!("did you mean {}?", listed(&near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["default", "keys", "legacy", "prod", "with space"];

    fn told(wanted: &str, names: &[&str]) -> String {
        let files = [Path::new("/home/me/.aws/config"), Path::new("/home/me/.aws/credentials")];
        let fault = profile_not_found(&wanted.parse().unwrap(), names.iter().copied(), &files);
        assert_eq!(fault.kind, FaultKind::ProfileNotFound { profile: wanted.to_owned() });
        let looked = "looked for in /home/me/.aws/config and /home/me/.aws/credentials; ";
        fault.detail.strip_prefix(looked).expect("it names the files").to_owned()
    }

    #[test]
    fn the_nearest_names_are_told_with_the_files_looked_in() {
        assert_eq!(told("prd", &NAMES), "did you mean prod?");
        assert_eq!(told("space", &NAMES), "did you mean with space?");
        let names = "there are default, keys, legacy, prod, with space";
        assert_eq!(told("staging-account", &NAMES), names);
        let more = [&NAMES[..], &["zzz-other"]].concat();
        assert_eq!(told("staging-account", &more), format!("{names}, …"));
        assert_eq!(told("prod", &[]), "there is no profile at all");
    }
}
