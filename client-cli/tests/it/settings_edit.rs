//! `settings edit`: what becomes of what an editor leaves behind. The editors are scripts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stctl::world::Answer;
use stormtunnel_proto::paths::Platform;

use crate::fake::{Fake, TEMPLATE};
use crate::support::{Ran, on, stctl};
use crate::system::System;

const YES: Answer = || Ok("y\n".to_owned());
const NO: Answer = || Ok("n\n".to_owned());

/// Runs `settings edit` in a terminal with an editor of that shell script, which finds the copy as `$1`.
async fn edited(fake: &Fake, script: &str, answer: Answer) -> Ran {
    let editor = fake.socket().with_file_name("my editor");
    fs::write(&editor, format!("#!/bin/sh\nset -e\n{script}\n")).unwrap();
    fs::set_permissions(&editor, Permissions::from_mode(0o755)).unwrap();
    // As people write them: quoted, and with a flag in front of the file.
    let script = r#"[ "$1" = --wait ] && shift"#;
    let wrapper = fake.socket().with_file_name("wrapper");
    fs::write(&wrapper, format!("#!/bin/sh\n{script}\nexec \"{}\" \"$@\"\n", editor.display())).unwrap();
    fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
    with(fake, &System::real(), &[("VISUAL", &format!("'{}' --wait", wrapper.display()))], answer).await
}

async fn with(fake: &Fake, system: &System, variables: &[(&str, &str)], answer: Answer) -> Ran {
    on(system, Duration::from_secs(30), fake.socket(), variables, "settings edit", Some(answer)).await
}

/// The copies that are left.
fn copies(fake: &Fake) -> Vec<PathBuf> {
    let entries = fs::read_dir(fake.socket().parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().contains("settings.edit-")).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_new_file_begins_with_all_settings_and_gets_what_was_written() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let seen = fake.socket().with_file_name("seen");
        let script = format!(
            r#"ls -l "$1" | cut -c1-10 >'{seen}'; cat "$1" >>'{seen}'; echo 'connect_timeout = 60' >>"$1""#,
            seen = seen.display()
        );
        let ran = edited(&fake, &script, NO).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "tunnels.connect_timeout is 60\n"), "{ran:?}");
        assert_eq!(read(&seen), format!("-rw-------\n{TEMPLATE}"));
        assert_eq!(read(&fake.settings_file()), format!("{TEMPLATE}connect_timeout = 60\n"));
        assert_eq!(copies(&fake), [""; 0].map(PathBuf::from));
    })
    .await;
}

#[tokio::test]
async fn a_text_that_is_left_as_it_is_changes_nothing() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let ran = edited(&fake, "true", NO).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
        assert!(ran.err.ends_with("nothing was changed\n"), "{ran:?}");
        assert!(!fake.settings_file().exists() && copies(&fake).is_empty());

        fs::write(fake.settings_file(), "# mine\n").unwrap();
        let commented = edited(&fake, r#"echo '# more' >>"$1""#, NO).await;
        assert!(commented.err.ends_with("is written; no setting has changed\n"), "{commented:?}");
        assert_eq!(read(&fake.settings_file()), "# mine\n# more\n");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_its_place_and_can_be_mended_or_kept() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let wrong = r#"printf '[tunnels]\nconnect_timeout = 5\n' >"$1""#;
        let given_up = edited(&fake, wrong, NO).await;
        assert_eq!(given_up.code, 2, "{given_up:?}");
        let copy = copies(&fake).remove(0);
        let place = format!("{}:2:19: \"5\": whole seconds from 10 to 120\n", copy.display());
        assert!(given_up.err.contains(&place), "{given_up:?}");
        assert!(given_up.err.contains("the old settings stay in force"), "{given_up:?}");
        let kept = format!("what you have written is kept in {}", copy.display());
        assert!(given_up.err.contains(&kept), "{given_up:?}");
        assert_eq!(read(&copy), "[tunnels]\nconnect_timeout = 5\n");
        assert!(!fake.settings_file().exists());
        fs::remove_file(&copy).unwrap();

        let mends = r#"if grep -q '= 5' "$1"; then sed -i 's/= 5$/= 60/' "$1"
            else printf '[tunnels]\nconnect_timeout = 5\n' >"$1"; fi"#;
        let mended = edited(&fake, mends, YES).await;
        assert_eq!((mended.code, mended.out.as_str()), (0, "tunnels.connect_timeout is 60\n"), "{mended:?}");
        assert!(mended.err.contains("edit again? [y/N]"), "{mended:?}");
        assert_eq!(read(&fake.settings_file()), "[tunnels]\nconnect_timeout = 60\n");
        assert!(copies(&fake).is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_somebody_else_wrote_meanwhile_is_not_overwritten() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let file = fake.settings_file();
        let script = format!(r#"echo '# theirs' >'{}'; echo '# ours' >>"$1""#, file.display());
        let ran = edited(&fake, &script, NO).await;
        assert_eq!(ran.code, 7, "{ran:?}");
        assert!(ran.err.contains("nothing was overwritten"), "{ran:?}");
        assert_eq!(read(&file), "# theirs\n");
        let copy = copies(&fake).remove(0);
        assert!(ran.err.contains(copy.to_str().unwrap()) && read(&copy).ends_with("# ours\n"), "{ran:?}");
    })
    .await;
}

#[tokio::test]
async fn an_editor_that_fails_changes_nothing() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let failed = edited(&fake, "exit 3", NO).await;
        assert_eq!(failed.code, 1);
        assert!(failed.err.contains("it ended with 3"), "{failed:?}");
        assert!(copies(&fake).is_empty(), "nothing was written that could be kept");
        let killed = edited(&fake, "kill -9 $$", NO).await;
        assert!(
            killed.err.contains("a signal ended it") || killed.err.contains("it ended with 137"),
            "{killed:?}"
        );
        let typed = edited(&fake, r#"echo typed >>"$1"; exit 3"#, NO).await;
        assert!(typed.err.contains("is kept in"), "{typed:?}");
        assert_eq!(read(&copies(&fake)[0]), format!("{TEMPLATE}typed\n"));
    })
    .await;
}

#[tokio::test]
async fn without_an_editor_or_a_terminal_it_says_what_to_do() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let system = System::default();
        let none = with(&fake, &system, &[], NO).await;
        assert_eq!(none.code, 1);
        assert!(none.err.contains("neither of vi and nano"), "{none:?}");
        assert!(none.err.contains("set VISUAL or EDITOR to one, or use `stctl settings set"), "{none:?}");
        assert!(system.asked().iter().map(|line| line.split(' ').next().unwrap()).eq(["vi", "nano"]));

        let system = System::of(Platform::Linux);
        with(&fake, &system, &[], NO).await;
        assert!(
            system.asked().iter().map(|line| line.split(' ').next().unwrap()).eq(["vi"]),
            "the first wins"
        );

        let missing = with(&fake, &System::real(), &[("EDITOR", "/nonexistent/ed -x")], NO).await;
        assert!(missing.err.contains("`/nonexistent/ed -x`, which EDITOR names"), "{missing:?}");
        assert!(copies(&fake).is_empty());

        let nobody = stctl(fake.socket(), "settings edit").await;
        assert_eq!(nobody.code, 2);
        assert!(nobody.err.contains("`stctl settings set KEY VALUE`"), "{nobody:?}");
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_was_kept_is_in_nobodys_way() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let kept = fake.settings_file().with_extension(format!("edit-{}.toml", std::process::id()));
        fs::write(&kept, "# kept\n").unwrap();
        let ran = edited(&fake, r#"echo '# more' >>"$1""#, NO).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(read(&fake.settings_file()), format!("{TEMPLATE}# more\n"));
        assert_eq!((copies(&fake), read(&kept).as_str()), (vec![kept.clone()], "# kept\n"));
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_text_is_named_as_such() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        fs::write(fake.settings_file(), b"# \xff\n").unwrap();
        let ran = edited(&fake, "true", NO).await;
        assert_eq!(ran.code, 1);
        let headline = format!("the settings file {} cannot be read", fake.settings_file().display());
        assert!(ran.err.contains(&headline) && ran.err.contains("UTF-8"), "{ran:?}");
        assert!(copies(&fake).is_empty());
    })
    .await;
}
