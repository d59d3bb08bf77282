//! Who may know whom.
//!
//! `stctl -> stormtunnel-proto -> stormtunnel-model <- stormtunnel-engine -> ssm-session -> smux`, and the
//! daemon above them all.

use crate::{
    Violation,
    graph::{Graph, Member},
};

/// The crates of the workspace that each product crate may use (tests may use more). A crate that is not
/// listed has no place yet: give it a row and a reason.
const DIRECTION: &[(&str, &[&str])] = &[
    ("smux", &[]),
    ("ssm-session", &["smux"]),
    ("stormtunnel-model", &[]),
    ("stormtunnel-proto", &["stormtunnel-model"]),
    ("stormtunnel-engine", &["smux", "ssm-session", "stormtunnel-model"]),
    ("stormtunnel-aws", &["ssm-session", "stormtunnel-aws-files", "stormtunnel-engine", "stormtunnel-model"]),
    ("stormtunnel-aws-ec2", &["stormtunnel-aws", "stormtunnel-engine", "stormtunnel-model"]),
    ("stormtunnel-aws-ecs", &["stormtunnel-aws", "stormtunnel-engine", "stormtunnel-model"]),
    ("stormtunnel-aws-files", &["stormtunnel-model"]),
    ("stormtunnel-api", &["stormtunnel-engine", "stormtunnel-model", "stormtunnel-proto"]),
    (
        "stormtunneld",
        &[
            "smux",
            "ssm-session",
            "stormtunnel-api",
            "stormtunnel-aws",
            "stormtunnel-aws-ec2",
            "stormtunnel-aws-ecs",
            "stormtunnel-aws-files",
            "stormtunnel-engine",
            "stormtunnel-model",
            "stormtunnel-proto",
        ],
    ),
    ("stctl", &["stormtunnel-model", "stormtunnel-proto"]),
];

/// Packages that a crate may not reach, directly or through others.
struct Unreachable {
    member: &'static str,
    /// Names; a `*` at the end stands for any rest.
    packages: &'static [&'static str],
    reason: &'static str,
}

const SANS_IO: &[&str] = &[
    "async-*",
    "chrono",
    "crossbeam*",
    "futures*",
    "getrandom",
    "jiff",
    "mio",
    "rand",
    "rustix",
    "socket2",
    "time",
    "tokio*",
];

const UNREACHABLE: &[Unreachable] = &[
    Unreachable {
        member: "smux",
        packages: SANS_IO,
        reason: "a protocol core takes time, bytes and randomness as arguments: only so can a test own the clock and the network",
    },
    Unreachable {
        member: "ssm-session",
        packages: SANS_IO,
        reason: "a protocol core takes time, bytes and randomness as arguments: only so can a test own the clock and the network",
    },
    Unreachable {
        member: "stormtunnel-model",
        packages: &["aws-*", "getrandom", "hyper*", "prost*", "rusqlite", "tokio*", "tonic*"],
        reason: "the model is plain data that both sides of the API share: what it links, every front end links",
    },
    Unreachable {
        member: "stormtunnel-engine",
        packages: &[
            "*tungstenite",
            "aws-*",
            "axum*",
            "hyper*",
            "notify",
            "objc2*",
            "prost*",
            "rusqlite",
            "tonic*",
            "zbus*",
        ],
        reason: "the engine reaches the world only through its ports, so that every decision can be tested with fakes",
    },
    Unreachable {
        member: "stormtunnel-aws-files",
        packages: &[
            "async-*", "aws-*", "futures*", "hyper*", "notify", "prost*", "reqwest", "tokio*", "tonic*",
        ],
        reason: "files are read and written without an SDK and without a runtime: so they are tested in seconds",
    },
    Unreachable {
        member: "stormtunnel-proto",
        packages: &["aws-*", "rusqlite", "*tungstenite"],
        reason: "the contract must be linkable by a front end that knows nothing of AWS or of our storage",
    },
    Unreachable {
        member: "stormtunnel-api",
        packages: &["aws-*", "rusqlite", "*tungstenite"],
        reason: "the services speak to the engine's handle: an AWS or storage type in an API crate would leak into the contract",
    },
    Unreachable {
        member: "stctl",
        packages: &[
            "*tungstenite",
            "aws-*",
            "rusqlite",
            "smux",
            "ssm-session",
            "stormtunnel-api",
            "stormtunnel-aws",
            "stormtunnel-engine",
            "stormtunneld",
        ],
        reason: "the command line talks to the daemon and does nothing that another front end could not do through the API",
    },
];

/// Packages that only some product crates may name in their manifests, whoever reaches them.
struct Confined {
    packages: &'static [&'static str],
    members: &'static [&'static str],
    reason: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        packages: &["aws-sdk-ec2"],
        members: &["stormtunnel-aws-ec2"],
        reason: "it takes minutes and gigabytes to compile: what does not look instances up does without",
    },
    Confined {
        packages: &["aws-sdk-ecs"],
        members: &["stormtunnel-aws-ecs"],
        reason: "what does not look containers up does not wait for it to compile",
    },
    Confined {
        packages: &["aws-*"],
        members: &["stormtunnel-aws", "stormtunnel-aws-ec2", "stormtunnel-aws-ecs"],
        reason: "AWS types stop at daemon/crates/aws*: an SDK upgrade must not reach past them",
    },
    Confined {
        packages: &["prost*", "tonic-prost*", "protox"],
        members: &["stormtunnel-proto"],
        reason: "generated types are converted at the edge of stormtunnel-proto: the rest of the code knows only the model",
    },
    Confined {
        packages: &["tonic*"],
        members: &["stormtunnel-proto", "stormtunnel-api", "stormtunneld"],
        reason: "gRPC is the business of the contract, of the services over it, and of the daemon that serves them",
    },
    Confined {
        packages: &["rusqlite"],
        members: &["stormtunneld"],
        reason: "one crate owns the database; the others see the engine's store port",
    },
];

/// Features that a crate may not be built with.
struct FeatureOff {
    member: &'static str,
    package: &'static str,
    feature: &'static str,
    reason: &'static str,
}

const FEATURES_OFF: &[FeatureOff] = &[
    FeatureOff {
        member: "stormtunneld",
        package: "ssm-session",
        feature: "agent",
        reason: "the agent's role belongs to the emulator: in the daemon it would be dead code next to secrets",
    },
    FeatureOff {
        member: "stormtunneld",
        package: "stormtunnel-engine",
        feature: "testing",
        reason: "fakes must not be linked into the product",
    },
];

/// Product crates use each other in one direction only, and none of them uses a test crate.
pub fn direction(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, member) in products(graph) {
        let Some((_, allowed)) = DIRECTION.iter().find(|(listed, _)| listed == name) else {
            violations.push(Violation {
                place: name.clone(),
                found: "has no row in DIRECTION (tests/architecture/src/dependencies.rs)".to_owned(),
                reason: "every product crate has a place in the dependency direction, decided and not fallen into",
            });
            continue;
        };
        let ours = member
            .declared
            .iter()
            .filter(|declared| !declared.dev && graph.members.contains_key(&declared.package));
        for declared in ours.filter(|declared| !allowed.contains(&declared.package.as_str())) {
            violations.push(Violation {
                place: name.clone(),
                found: format!("depends on {}", declared.package),
                reason: "dependencies point from the edges (CLI, daemon) to the cores, never back or sideways",
            });
        }
    }
    violations
}

/// Crates keep away from what their layer must not know, through however many others.
pub fn unreachable(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for rule in UNREACHABLE {
        let Some(member) = graph.members.get(rule.member) else { continue };
        let reached = member.reached.iter().map(|reached| &reached.package);
        // What a manifest names for another platform is not reached here, and forbidden all the same.
        let declared =
            member.declared.iter().filter(|declared| !declared.dev).map(|declared| &declared.package);
        let mut found: Vec<&String> = reached
            .chain(declared)
            .filter(|package| *package != rule.member && matches(package, rule.packages))
            .collect();
        found.sort();
        found.dedup();
        violations.extend(found.into_iter().map(|package| Violation {
            place: rule.member.to_owned(),
            found: format!("reaches {package} (cargo tree -p {} -e normal,build -i {package})", rule.member),
            reason: rule.reason,
        }));
    }
    violations
}

/// A package that belongs to one layer is named in no other's manifest.
pub fn confined(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, member) in products(graph) {
        for declared in member.declared.iter().filter(|declared| !declared.dev) {
            // The first row that matches owns the package: tonic-prost is prost's, not tonic's.
            let owner = CONFINED.iter().find(|rule| matches(&declared.package, rule.packages));
            if let Some(rule) = owner.filter(|rule| !rule.members.contains(&name.as_str())) {
                violations.push(Violation {
                    place: name.clone(),
                    found: format!("names {} in its manifest", declared.package),
                    reason: rule.reason,
                });
            }
        }
    }
    violations
}

/// Test-only features stay out of the product.
pub fn features_off(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for rule in FEATURES_OFF {
        let Some(member) = graph.members.get(rule.member) else { continue };
        let package = member.reached.iter().filter(|reached| reached.package == rule.package);
        if package.flat_map(|reached| &reached.features).any(|feature| feature == rule.feature) {
            violations.push(Violation {
                place: rule.member.to_owned(),
                found: format!("is built with the feature {} of {}", rule.feature, rule.package),
                reason: rule.reason,
            });
        }
    }
    violations
}

/// Every member is under the lints of the workspace.
pub fn lints(graph: &Graph) -> Vec<Violation> {
    let inherits = |member: &Member| {
        let lints = member.manifest.get("lints").and_then(|lints| lints.get("workspace"));
        lints.and_then(toml::Value::as_bool) == Some(true)
    };
    let violating = graph.members.iter().filter(|(_, member)| !inherits(member));
    let violation = |(name, _): (&String, &Member)| Violation {
        place: name.clone(),
        found: "has no `[lints] workspace = true`".to_owned(),
        reason: "a crate without it is outside unsafe_code, unwrap_used and all the other lints, silently",
    };
    violating.map(violation).collect()
}

/// The crates that are shipped: all but those below `tests/`.
fn products(graph: &Graph) -> impl Iterator<Item = (&String, &Member)> {
    graph.members.iter().filter(|(_, member)| !member.directory.starts_with("tests/"))
}

/// `aws-lc` is a cryptography library of AWS and knows nothing of its services: `aws-*` does not mean it.
fn matches(package: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => package.ends_with(end),
        (None, Some("aws-")) => package.starts_with("aws-") && !package.starts_with("aws-lc-"),
        (None, Some(start)) => package.starts_with(start),
        (None, None) => package == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        graph::{Declared, Reached, workspace},
        report,
    };

    type Rule = fn(&Graph) -> Vec<Violation>;

    #[test]
    fn the_workspace_keeps_every_rule() {
        let rules: [(&str, Rule); 5] = [
            ("direction", direction),
            ("unreachable", unreachable),
            ("confined", confined),
            ("features_off", features_off),
            ("lints", lints),
        ];
        for (name, rule) in rules {
            let report = report(&rule(workspace()));
            assert!(report.is_empty(), "rule {name} is broken:\n{report}");
        }
    }

    #[test]
    fn every_rule_speaks_of_crates_that_exist() {
        let rows =
            DIRECTION.iter().map(|(member, _)| *member).chain(UNREACHABLE.iter().map(|rule| rule.member));
        let features = FEATURES_OFF.iter().flat_map(|rule| [rule.member, rule.package]);
        for member in rows.chain(features) {
            assert!(
                workspace().members.contains_key(member),
                "a rule speaks of {member}, which is no member"
            );
        }
    }

    #[test]
    fn a_back_edge_is_rejected() {
        let graph = planted("stormtunnel-model", "proto/model", &["stormtunnel-engine"], &[]);
        let violations = direction(&graph);
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].to_string().contains("stormtunnel-model: depends on stormtunnel-engine"));
    }

    #[test]
    fn a_product_crate_that_uses_a_test_crate_is_rejected() {
        let mut graph = planted("stormtunneld", "daemon", &["aws-emulator"], &[]);
        graph.members.insert(
            "aws-emulator".to_owned(),
            Member { directory: "tests/emulator".to_owned(), ..Member::default() },
        );
        assert_eq!(direction(&graph).len(), 1);
    }

    #[test]
    fn a_product_crate_without_a_place_is_rejected() {
        let graph = planted("stormtunnel-extra", "daemon/crates/extra", &[], &[]);
        assert!(direction(&graph)[0].found.contains("has no row"));
    }

    #[test]
    fn forbidden_packages_are_rejected_at_any_distance() {
        for rule in UNREACHABLE {
            for pattern in rule.packages {
                let package = pattern.replace('*', "x");
                let through_others = planted(rule.member, "daemon", &[], &[(&package, &[])]);
                assert_eq!(unreachable(&through_others).len(), 1, "{} may reach {package}", rule.member);
                let on_another_platform = planted(rule.member, "daemon", &[&package], &[]);
                assert_eq!(unreachable(&on_another_platform).len(), 1, "{} may name {package}", rule.member);
            }
        }
    }

    #[test]
    fn a_confined_package_elsewhere_is_rejected() {
        for (member, package) in [
            ("stormtunneld", "aws-sdk-ssm"),
            ("stormtunnel-aws", "aws-sdk-ec2"),
            ("stormtunnel-aws", "aws-sdk-ecs"),
            ("stormtunnel-api", "prost"),
            ("stormtunneld", "tonic-prost"),
            ("stctl", "tonic"),
            ("stctl", "rusqlite"),
        ] {
            assert_eq!(
                confined(&planted(member, "daemon", &[package], &[])).len(),
                1,
                "{member} may name {package}"
            );
        }
        assert_eq!(confined(&planted("stormtunnel-api", "daemon/crates/api", &["tonic"], &[])), []);
        assert_eq!(confined(&planted("ssm-session", "daemon/crates/ssm-session", &["aws-lc-rs"], &[])), []);
    }

    #[test]
    fn a_test_feature_in_the_product_is_rejected() {
        for rule in FEATURES_OFF {
            let with = planted(rule.member, "daemon", &[], &[(rule.package, &[rule.feature])]);
            assert_eq!(features_off(&with).len(), 1, "{} may have {}", rule.member, rule.feature);
            let without = planted(rule.member, "daemon", &[], &[(rule.package, &["default"])]);
            assert_eq!(features_off(&without), []);
        }
    }

    #[test]
    fn a_crate_outside_the_lints_is_rejected() {
        let member = Member { directory: "daemon/crates/smux".to_owned(), ..Member::default() };
        let mut graph = Graph { members: BTreeMap::from([("smux".to_owned(), member)]) };
        assert_eq!(lints(&graph).len(), 1);
        let manifest = "[lints]\nworkspace = true".parse().unwrap();
        graph.members.get_mut("smux").unwrap().manifest = manifest;
        assert_eq!(lints(&graph), []);
    }

    /// The real workspace's names with one crate replaced by a planted one.
    fn planted(name: &str, directory: &str, declared: &[&str], reached: &[(&str, &[&str])]) -> Graph {
        let declared = declared.iter().map(|package| Declared { package: (*package).to_owned(), dev: false });
        let reached = reached.iter().map(|(package, features)| Reached {
            package: (*package).to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        });
        let member = Member {
            directory: directory.to_owned(),
            declared: declared.collect(),
            reached: reached.collect(),
            ..Member::default()
        };
        let empty = |directory: &str| Member { directory: directory.to_owned(), ..Member::default() };
        let mut members = BTreeMap::from([("stormtunnel-engine".to_owned(), empty("daemon/crates/engine"))]);
        members.insert(name.to_owned(), member);
        Graph { members }
    }
}
