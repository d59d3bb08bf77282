//! The crates of the workspace and what they reach, as cargo resolves them.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::LazyLock};

use serde::Deserialize;

/// The members of the workspace.
#[derive(Debug, Default, Clone)]
pub struct Graph {
    /// Every member, by name.
    pub members: BTreeMap<String, Member>,
}

/// One crate of the workspace.
#[derive(Debug, Default, Clone)]
pub struct Member {
    /// Its directory, relative to the root of the workspace, with `/` between the parts.
    pub directory: String,
    /// What its manifest names, for every platform and feature.
    pub declared: Vec<Declared>,
    /// What is compiled when it alone is built on this machine: itself and all that its normal and build
    /// dependencies reach. Empty for the crates of the tests.
    pub reached: Vec<Reached>,
    /// Its manifest, parsed.
    pub manifest: toml::Table,
}

/// A dependency named in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The name of the package (not of a rename).
    pub package: String,
    /// Whether it exists for tests, examples and benchmarks only.
    pub dev: bool,
}

/// A package with the features it is compiled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The name of the package.
    pub package: String,
    /// Its features.
    pub features: Vec<String>,
}

/// The graph of this workspace. Computed once per test process: cargo is asked once per member.
pub fn workspace() -> &'static Graph {
    static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
        let output = cargo(&["metadata", "--format-version=1", "--no-deps"]);
        let metadata: Metadata = serde_json::from_str(&output).expect("cargo metadata answers JSON");
        let members =
            metadata.packages.into_iter().map(|package| (package.name.clone(), package.into_member()));
        Graph { members: members.collect() }
    });
    &GRAPH
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let crate_directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    crate_directory.ancestors().nth(2).map(PathBuf::from).expect("the crate lies in tests/architecture")
}

/// The part of `cargo metadata` that is read.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Package {
    fn into_member(self) -> Member {
        let root = root().canonicalize().expect("the root exists");
        let path = self.manifest_path.canonicalize().expect("the manifest exists");
        let text = std::fs::read_to_string(&path).expect("the manifest can be read");
        let directory = path.parent().and_then(|directory| directory.strip_prefix(&root).ok());
        let directory = directory.expect("members lie below the root").to_string_lossy().replace('\\', "/");
        let declared = |dependency: Dependency| {
            let dev = dependency.kind.as_deref() == Some("dev");
            Declared { package: dependency.name, dev }
        };
        Member {
            // What the crates of the tests reach is nobody's concern, and asking takes half a second each.
            reached: if directory.starts_with("tests/") { Vec::new() } else { reached(&self.name) },
            directory,
            declared: self.dependencies.into_iter().map(declared).collect(),
            manifest: text.parse().expect("cargo has read this manifest"),
        }
    }
}

/// `cargo tree` and not the resolve of `cargo metadata`: the latter joins the features of all members, and so
/// shows every crate with what only another one asked for.
fn reached(package: &str) -> Vec<Reached> {
    let output = cargo(&["tree", "-p", package, "-e", "normal,build", "--prefix", "none", "-f", "{p}|{f}"]);
    let mut reached: Vec<Reached> = output.lines().filter_map(parse_tree_line).collect();
    reached.sort_by(|a, b| a.package.cmp(&b.package));
    reached.dedup();
    reached
}

/// Reads `name v1.2.3 (source)|feature,feature`, with `(*)` behind it if the package was shown before.
fn parse_tree_line(line: &str) -> Option<Reached> {
    let (package, features) = line.split_once('|')?;
    let features = features.trim_end_matches("(*)").trim();
    Some(Reached {
        package: package.split(' ').next()?.to_owned(),
        features: features.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned).collect(),
    })
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let output = output.expect("cargo runs: it has started this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {} failed:\n{errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_tree_line() {
        let shown = parse_tree_line("ssm-session v0.1.0 (/a b/ssm-session)|agent,default (*)").unwrap();
        assert_eq!(shown.package, "ssm-session");
        assert_eq!(shown.features, ["agent", "default"]);
        assert_eq!(parse_tree_line("bytes v1.0.0|").unwrap().features, [""; 0]);
        assert_eq!(parse_tree_line(""), None);
    }

    #[test]
    fn every_product_crate_reaches_itself() {
        let products =
            workspace().members.iter().filter(|(_, member)| !member.directory.starts_with("tests/"));
        for (name, member) in products {
            assert!(member.reached.iter().any(|reached| reached.package == *name), "{name}");
        }
    }
}
