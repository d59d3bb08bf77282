//! What a release consists of, made of the programs under test: looked into, installed, upgraded and removed.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_emulator::Config;
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::own_systemd::{self, Machine};
use stormtunnel_e2e::scene::{HOST, PORT, Scene};
use stormtunnel_e2e::{DEADLINE, local, process, programs};
use tempfile::TempDir;

/// Longest run of the release script, which compresses programs that are not optimised.
const RELEASE: Duration = Duration::from_secs(600);

/// Longest time that cargo takes for a program whose libraries are compiled for the other tests, if not for it alone.
const BUILD: Duration = Duration::from_secs(900);

/// When the files of a release were made, in seconds since 1970.
const MADE: u32 = 1_700_000_000;

/// A version that is no release yet.
const CANDIDATE: &str = "7.8.9-rc.1";

/// Lets nothing that is installed leave this test: what is written to these directories goes into memory. The system's systemd, which
/// is not here, would pass on what root asks of a user's; a container's rule that packages start nothing is not for this test.
const SET_APART: &str = r#"
set -e
for tree in usr etc var; do
    mkdir -p /run/overlay/$tree /run/overlay/$tree.work
    mount -t overlay overlay -o lowerdir=/$tree,upperdir=/run/overlay/$tree,workdir=/run/overlay/$tree.work /$tree
done
rm -f /usr/sbin/policy-rc.d
cat >/usr/local/bin/systemctl <<'SCRIPT'
#!/bin/bash
arguments=()
while (($#)); do
    case $1 in
        list-units) echo 'user@0.service loaded active running'; exit ;;
        --machine=*) ;;
        --machine) shift ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
exec /usr/bin/systemctl "${arguments[@]}"
SCRIPT
chmod 755 /usr/local/bin/systemctl
"#;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the release script is.
fn packaging() -> PathBuf {
    root().join("launchd/packaging")
}

/// Whether this machine has what the script needs.
fn is_possible() -> Result<bool> {
    let cache = std::env::var_os("STORMTUNNEL_CI_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| root().join("target/ci"));
    let has_tool = cache.join("packaging/bin/cargo-cyclonedx").exists()
        || programs::find_on_path("cargo-cyclonedx").is_some();
    if !has_tool {
        let what = "cargo-cyclonedx, which `launchd/packaging/release --prepare` builds,";
        return Ok(programs::missing::<()>(what)?.is_some());
    }
    let needed = ["dpkg-deb", "dpkg-shlibdeps", "man", "ruby", "strip"];
    let found = needed.map(programs::find);
    found.into_iter().try_fold(true, |all, program| Ok(all & program?.is_some()))
}

/// The files of a release, and the version that they are of.
struct Release {
    directory: TempDir,
    version: String,
}

impl Release {
    /// Of the programs under test, without their symbols, as a release has them.
    async fn make(version: Option<&str>) -> Result<Self> {
        let binaries = stormtunnel_harness::binaries(Default::default()).await?;
        let programs = tempfile::tempdir()?;
        for program in [&binaries.stctl, &binaries.stormtunneld] {
            let mut strip = Command::new("strip");
            strip.arg("-o").arg(programs.path().join(program.file_name().context("a name")?)).arg(program);
            process::run(strip, DEADLINE).await?.success()?;
        }
        let directory = tempfile::tempdir()?;
        let mut release = script("release", MADE);
        release.arg("--bin-dir").arg(programs.path()).arg("--output").arg(directory.path());
        release.args(version.iter().flat_map(|version| ["--version", version]));
        process::run(release, RELEASE).await?.success()?;
        let version = version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
        Ok(Self { directory, version })
    }

    /// The same as the next Debian package, made a day later.
    async fn packaged_again(&self) -> Result<PathBuf> {
        let mut deb = script("deb", MADE + 86_400);
        deb.arg(self.file("-gnu.tar.gz")?).args(["--revision", "2", "--output"]).arg(self.directory.path());
        let name = process::run(deb, RELEASE).await?.success()?;
        Ok(self.directory.path().join(name.trim()))
    }

    /// The one file whose name ends so.
    fn file(&self, end: &str) -> Result<PathBuf> {
        let mut found = fs::read_dir(self.directory.path())?.filter_map(|entry| Some(entry.ok()?.path()));
        let found = found.find(|path| path.to_string_lossy().ends_with(end));
        found.with_context(|| format!("the release has no {end}"))
    }

    /// What is in the Debian package, in words.
    async fn package(&self) -> Result<String> {
        let file = self.file(".deb")?;
        let file = file.to_str().context("text")?;
        Ok(ran("dpkg-deb", &["--info", file]).await? + &ran("dpkg-deb", &["--contents", file]).await?)
    }

    fn name(&self) -> String {
        format!("stormtunnel-{}-{}-unknown-linux-gnu", self.version, std::env::consts::ARCH)
    }

    fn sums(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file("SHA256SUMS")?)?)
    }
}

/// A script that makes files of that time, and does not compress what is thrown away.
fn script(name: &str, seconds: u32) -> Command {
    let mut command = Command::new(packaging().join(name));
    command.env("SOURCE_DATE_EPOCH", seconds.to_string()).env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    command
}

async fn ran(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    process::run(command, DEADLINE).await?.success()
}

#[tokio::test]
async fn a_release_is_the_same_twice_and_has_everything() -> Result<()> {
    if !is_possible()? {
        return Ok(());
    }
    let (first, second) = (Release::make(Some(CANDIDATE)).await?, Release::make(Some(CANDIDATE)).await?);
    if first.sums()? != second.sums()? {
        let (one, other) = (first.package().await?, second.package().await?);
        bail!("{}{one}\n--- and\n{}{other}", first.sums()?, second.sums()?);
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(first.directory.path());
    let checked = process::run(check, DEADLINE).await?.success()?;
    ensure!(checked.lines().count() == 4 && checked.contains("stormtunnel_7.8.9.rc.1-1_"), "{checked}");
    let package = first.package().await?;
    for part in [
        "Version: 7.8.9~rc.1-1\n",
        "doc/stormtunnel/LICENSE-MIT\n",
        "/LICENSE-APACHE -> ../../common-licenses/Apache-2.0\n",
    ] {
        ensure!(package.contains(part), "{part} is missing: {package}");
    }

    let place = tempfile::tempdir()?;
    let tarball = first.file("-gnu.tar.gz")?;
    let (tarball, into) = (tarball.to_str().context("text")?, place.path().to_str().context("text")?);
    ran("tar", &["-x", "-f", tarball, "-C", into]).await?;
    let tree = place.path().join(first.name());
    for file in [
        "bin/stctl",
        "bin/stormtunneld",
        "share/man/man1/stctl.1",
        "share/man/man1/stctl-tunnel-add.1",
        "share/man/man1/stormtunneld.1",
        "share/bash-completion/completions/stctl",
        "share/zsh/site-functions/_stctl",
        "share/fish/vendor_completions.d/stctl.fish",
        "share/doc/stormtunnel/LICENSE-APACHE",
        "share/doc/stormtunnel/LICENSE-MIT",
        "share/doc/stormtunnel/CHANGELOG.md",
        "share/doc/stormtunnel/service/io.stormtunnel.stormtunneld.plist",
        "share/doc/stormtunnel/service/stormtunneld.service",
        "share/doc/stormtunnel/service/stormtunneld.socket",
    ] {
        ensure!(fs::metadata(tree.join(file)).is_ok_and(|file| file.len() > 0), "the tarball has no {file}");
    }
    let third_party = tree.join("share/doc/stormtunnel/third-party");
    let (client, daemon) = (materials(&third_party, "stctl")?, materials(&third_party, "stormtunneld")?);
    ensure!(client > 50 && daemon > client, "{client} and {daemon} packages are too few");
    formula(&first).await?;
    println!(
        "promise pack.tarball: byte for byte the same twice; programs, manual, completions, service files, licences; {client} packages in stctl and \
         {daemon} in stormtunneld, each in the bill of materials and with its licence"
    );
    Ok(())
}

/// Every package of others that a program contains is in its bill of materials. Answers how many there are.
fn materials(directory: &Path, program: &str) -> Result<usize> {
    let bill = fs::read_to_string(directory.join(format!("{program}.cdx.json")))?;
    ensure!(!bill.contains("file:///tmp"), "{program}'s bill names a path of this machine");
    let bill: Value = serde_json::from_str(&bill)?;
    ensure!(bill["bomFormat"] == "CycloneDX" && bill["metadata"]["component"]["name"] == program);
    let components = bill["components"].as_array().context("no components")?;
    let has = |name: &str, version: &str| {
        components.iter().any(|component| component["name"] == name && component["version"] == version)
    };
    let licences = fs::read_to_string(directory.join(format!("{program}.licences.txt")))?;
    let (list, texts) = licences.split_once("\n-----").context("no licence has a text")?;
    ensure!(texts.contains("Permission is hereby granted") && texts.contains("Apache License"));
    let packages = list.lines().filter_map(|line| line.split_once(": ")?.0.split_once(' '));
    let packages: Vec<(&str, &str)> =
        packages.filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit())).collect();
    for (name, version) in &packages {
        ensure!(has(name, version), "{program}'s bill lacks {name} {version}");
    }
    Ok(packages.len())
}

/// Homebrew takes it: Ruby can read it, and its sum is that of the sources.
async fn formula(release: &Release) -> Result<()> {
    let path = release.file("stormtunnel.rb")?;
    ran("ruby", &["-c", path.to_str().context("text")?]).await?;
    let text = fs::read_to_string(&path)?;
    let sources = format!("stormtunnel-{}.tar.gz", release.version);
    let sums = release.sums()?;
    let sum =
        sums.lines().find_map(|line| line.strip_suffix(&format!("  {sources}"))).context("no sources")?;
    ensure!(text.contains(&format!("sha256 \"{sum}\"")) && text.contains(&format!("/{sources}\"")), "{text}");
    ensure!(!text.contains('@'), "a word is not filled in: {text}");
    Ok(())
}

#[tokio::test]
async fn programs_of_another_commit_are_no_release() -> Result<()> {
    let programs = tempfile::tempdir()?;
    for name in ["stctl", "stormtunneld"] {
        let program = programs.path().join(name);
        fs::write(&program, format!("#!/bin/sh\necho '{name} 1.2.3 (0000000 2026-01-02)'\n"))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    let output = tempfile::tempdir()?;
    let mut release = script("release", MADE);
    release.arg("--bin-dir").arg(programs.path()).arg("--output").arg(output.path());
    let refused = process::run(release, DEADLINE).await?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("are 1.2.3 (0000000 2026-01-02), and"),
        "{refused:?}"
    );
    ensure!(fs::read_dir(output.path())?.next().is_none(), "files were made all the same");
    Ok(())
}

#[tokio::test]
async fn cargo_installs_both_programs_and_they_find_each_other() -> Result<()> {
    let place = tempfile::tempdir()?;
    // Unoptimised, and the daemon without what takes minutes to compile: what is tried is the rest.
    cargo_install("client-cli", &[], place.path()).await?;
    cargo_install("daemon", &["--no-default-features"], place.path()).await?;
    let programs = place.path().join("bin");
    let mut scene = Scene::start(Config::default()).await?;
    scene.set_variable("STCTL_DAEMON", "");
    let stctl = async |arguments: &[&str]| {
        let mut command = Command::new(programs.join("stctl"));
        command.args(arguments).env_clear().envs(scene.sandbox().environment());
        process::run(command, 2 * DEADLINE).await?.success()
    };
    stctl(&["daemon", "start"]).await?;
    let status: Value = serde_json::from_str(&stctl(&["daemon", "status", "-o", "json"]).await?)?;
    let program = fs::read_link(format!("/proc/{}/exe", status["pid"]))?;
    ensure!(program == programs.canonicalize()?.join("stormtunneld"), "{} runs", program.display());
    stctl(&["daemon", "stop"]).await?;
    println!(
        "promise pack.install: `cargo install --locked --path client-cli` and `--path daemon`; stctl starts the daemon beside it"
    );
    Ok(())
}

async fn cargo_install(package: &str, flags: &[&str], place: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["install", "--quiet", "--locked", "--debug", "--path"]).arg(root().join(package));
    cargo.args(flags).arg("--root").arg(place);
    // Libraries are those of this build; the programs are not put in the place of those that other tests run.
    let test = std::env::current_exe()?;
    let build = test.ancestors().nth(3).context("the test is not where cargo puts it")?;
    cargo.env("CARGO_BUILD_BUILD_DIR", build).env("CARGO_TARGET_DIR", place.join("target"));
    process::run(cargo, BUILD).await?.success().map(drop)
}

#[tokio::test]
async fn the_debian_package_is_installed_upgraded_and_removed() -> Result<()> {
    // A release and one package more are made inside.
    let longest = own_systemd::TEST + 2 * RELEASE;
    let name = "the_debian_package_is_installed_upgraded_and_removed";
    if !is_possible()? || !own_systemd::enter_for(longest, name).await? {
        return Ok(());
    }
    let release = Release::make(None).await?;
    let (first, second) = (release.file(".deb")?, release.packaged_again().await?);
    ran("sh", &["-c", SET_APART]).await?;
    let before = ours()?;
    let echo = EchoServer::start().await?;
    let machine = machine(&echo).await?;
    // Installed from elsewhere before there was a package, with units of its own.
    machine.ok(&["daemon", "install"]).await?;
    let port = tunnel(&machine).await?;

    dpkg(&["--install", first.to_str().context("text")?]).await?;
    installed_files(&release.version).await?;
    stctl(&machine, &["daemon", "install"]).await?;
    is_packaged(&machine).await?;
    let pid = machine.main_pid().await?.context("systemd runs no daemon")?;
    let mut held = local::connect(port, DEADLINE).await.context("the tunnel has moved")?;
    local::echo(&mut held, "before\n", DEADLINE).await?;

    dpkg(&["--install", second.to_str().context("text")?]).await?;
    ensure!(ran("dpkg", &["--verify", "stormtunnel"]).await?.is_empty());
    let reload = machine.systemctl(&["show", "--property=NeedDaemonReload", "stormtunneld.service"]).await?;
    ensure!(reload.trim() == "NeedDaemonReload=no", "the user's systemd has not read the new units");
    ensure!(machine.main_pid().await? == Some(pid), "an upgrade restarts no daemon");
    local::echo(&mut held, "meanwhile\n", DEADLINE).await?;
    stctl(&machine, &["daemon", "restart"]).await?;
    ensure!(machine.main_pid().await?.is_some_and(|now| now != pid), "it was not restarted");
    stctl(&machine, &["wait", "db"]).await?;
    let mut after = local::connect(port, DEADLINE).await.context("the port did not stay")?;
    local::echo(&mut after, "after\n", DEADLINE).await?;

    let uninstalled = stctl(&machine, &["daemon", "uninstall"]).await?;
    ensure!(machine.main_pid().await?.is_none() && !uninstalled.contains("mask"), "{uninstalled}");
    stctl(&machine, &["daemon", "install"]).await?;
    is_packaged(&machine).await?;

    dpkg(&["--remove", "stormtunnel"]).await?;
    ensure!(machine.main_pid().await?.is_none(), "the daemon ends with its program");
    ensure!(local::connect(port, DEADLINE).await.is_err(), "the port is free");
    dpkg(&["--purge", "stormtunnel"]).await?;
    ensure!(ours()? == before, "left: {:?}", ours()?);
    let state = machine.scene().sandbox().home().join(".local/state/stormtunnel/stormtunnel.db");
    ensure!(state.exists(), "what the user made stays");
    println!(
        "promise pack.deb: installed over units of an own install, upgraded with a connection held and the same port after a restart, removed \
         with the daemon, purged: nothing left but the user's state"
    );
    Ok(())
}

async fn dpkg(arguments: &[&str]) -> Result<String> {
    ran("dpkg", arguments).await
}

/// `stctl` of the package, in a terminal of the user.
async fn stctl(machine: &Machine, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("/usr/bin/stctl");
    command.args(arguments).env_clear().envs(machine.environment()?);
    process::run(command, 2 * DEADLINE).await?.success()
}

/// A machine whose user has set no place, so that the package's are theirs.
async fn machine(echo: &EchoServer) -> Result<Machine> {
    let mut scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    let settings = scene.sandbox().home().join(".config/stormtunnel");
    fs::create_dir_all(&settings)?;
    if scene.sandbox().config_file().exists() {
        fs::copy(scene.sandbox().config_file(), settings.join("settings.toml"))?;
    }
    for variable in ["STORMTUNNEL_SOCKET", "STORMTUNNEL_STATE_DIR", "STORMTUNNEL_CONFIG", "STCTL_DAEMON"] {
        scene.set_variable(variable, "");
    }
    Machine::start(scene).await
}

/// A tunnel `db` that is up; answers its port.
async fn tunnel(machine: &Machine) -> Result<u16> {
    let target = machine.scene().emulator().instance();
    machine.ok(&["tunnel", "add", "db", "--target", target, "--remote", &format!("{HOST}:{PORT}")]).await?;
    machine.ok(&["up", "db"]).await?;
    let shown: Value = serde_json::from_str(&machine.ok(&["tunnel", "show", "db", "-o", "json"]).await?)?;
    let port =
        shown["status"]["listening"][0].as_str().and_then(|address| address.rsplit(':').next()?.parse().ok());
    port.with_context(|| format!("no local port: {shown}"))
}

/// The programs run, their manual can be read, their completions too, and systemd likes the units.
async fn installed_files(version: &str) -> Result<()> {
    for program in ["stctl", "stormtunneld"] {
        let said = ran(&format!("/usr/bin/{program}"), &["--version"]).await?;
        ensure!(said.starts_with(&format!("{program} {version}")), "{said}");
        let mut man = Command::new("man");
        // By its file: what is read by its name is kept in a cache.
        let page = format!("/usr/share/man/man1/{program}.1.gz");
        man.args(["--warnings", "--local-file", &page]).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
        let page = process::run(man, DEADLINE).await?;
        ensure!(page.code == 0 && page.stdout.contains("NAME") && page.stderr.is_empty(), "{page:?}");
    }
    ran("bash", &["-n", "/usr/share/bash-completion/completions/stctl"]).await?;
    let units = "/usr/lib/systemd/user/stormtunneld";
    let verify = ["--user", "verify", &format!("{units}.service"), &format!("{units}.socket")];
    let mut command = Command::new("systemd-analyze");
    command.args(verify).env("XDG_RUNTIME_DIR", "/run/user/0");
    let verified = process::run(command, DEADLINE).await?;
    ensure!(verified.code == 0 && !verified.stderr.contains("stormtunnel"), "{verified:?}");
    ensure!(ran("dpkg", &["--verify", "stormtunnel"]).await?.is_empty());
    let depends = ran("dpkg-query", &["--show", "--showformat=${Depends}", "stormtunnel"]).await?;
    ensure!(depends.contains("libc6 (>= "), "{depends}");
    Ok(())
}

/// The units of the package are those in force, and no copy hides them.
async fn is_packaged(machine: &Machine) -> Result<()> {
    let places = machine.systemctl(&[
        "show",
        "--property=FragmentPath",
        "stormtunneld.socket",
        "stormtunneld.service",
    ]);
    let places = places.await?;
    ensure!(places.matches("=/usr/lib/systemd/user/stormtunneld.").count() == 2, "{places}");
    let units = machine.scene().sandbox().home().join(".config/systemd/user");
    ensure!(!units.join("stormtunneld.service").exists() && !units.join("stormtunneld.socket").exists());
    let status: Value = serde_json::from_str(&stctl(machine, &["daemon", "status", "-o", "json"]).await?)?;
    let service = &status["service"];
    ensure!(
        service["installed"] == true && service["enabled"] == true && service["active"] == true,
        "{status}"
    );
    let program = fs::read_link(format!("/proc/{}/exe", status["pid"]))?;
    ensure!(program == Path::new("/usr/bin/stormtunneld"), "{} runs", program.display());
    Ok(())
}

/// Everything of that name in the directories of the system.
fn ours() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = ["/usr", "/etc", "/var"].map(PathBuf::from).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if ["stormtunnel", "stctl"].iter().any(|word| name.to_string_lossy().contains(word)) {
                found.push(entry.path());
            }
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
