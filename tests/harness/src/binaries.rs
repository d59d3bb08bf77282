//! The two programs under test.
//!
//! Cargo does not build the binaries of other packages for `cargo run -p stormtunnel-demo` or `cargo test`, and a
//! build of the whole workspace would switch on features that the daemon must not have. So cargo is asked for just
//! these two, as a user would: the second time that takes a second. They are built as the caller was: with
//! optimisation for a caller that was built with `--release`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Paths of the two programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The command line.
    pub stctl: PathBuf,
    /// The daemon.
    pub stormtunneld: PathBuf,
}

/// What the daemon is built with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// Everything, as it is shipped.
    #[default]
    All,
    /// Without what takes minutes and gigabytes to compile: targets have to be ids of nodes.
    Quick,
}

/// The programs, built by the first caller of this process. `STORMTUNNEL_BIN_DIR` names a directory that has them, with
/// whatever parts.
///
/// # Errors
/// They do not compile; the compiler's words are on standard error.
pub async fn binaries(parts: Parts) -> Result<&'static Binaries> {
    static BUILT: OnceCell<Binaries> = OnceCell::const_new();
    BUILT.get_or_try_init(|| find_or_build(parts)).await
}

async fn find_or_build(parts: Parts) -> Result<Binaries> {
    match std::env::var_os("STORMTUNNEL_BIN_DIR") {
        Some(directory) => find(Path::new(&directory)),
        None => build(parts).await,
    }
}

fn find(directory: &Path) -> Result<Binaries> {
    let program = |name: &str| {
        let path = directory.join(name);
        path.canonicalize().with_context(|| format!("STORMTUNNEL_BIN_DIR holds no {}", path.display()))
    };
    Ok(Binaries { stctl: program("stctl")?, stormtunneld: program("stormtunneld")? })
}

async fn build(parts: Parts) -> Result<Binaries> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "stormtunneld", "-p", "stctl", "--message-format=json-render-diagnostics"]);
    if parts == Parts::Quick {
        command.arg("--no-default-features");
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // What cargo sets for the program it runs is not meant for the cargo that we run.
    for (name, _) in std::env::vars_os() {
        let for_packages =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR");
        if for_packages {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cargo cannot be run to build stormtunneld and stctl")?;
    ensure!(output.status.success(), "stormtunneld and stctl do not compile");
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not text")?;
    Ok(Binaries {
        stctl: executable(&messages, "stctl")?,
        stormtunneld: executable(&messages, "stormtunneld")?,
    })
}

/// The executable of that name in cargo's messages.
fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no executable {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"stctl","kind":["lib"]},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"stctl","kind":["bin"]},"executable":"/t/stctl"}"#,
            "\nnot json\n",
        );
        assert_eq!(executable(messages, "stctl").unwrap(), Path::new("/t/stctl"));
        assert!(executable(messages, "stormtunneld").is_err());
    }
}
