//! The file as people and editors treat it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn a_missing_file_means_defaults() {
    let (_home, file) = open(None);
    assert_eq!(**file.subscribe().borrow(), Settings::default());
    assert_eq!(file.problems(), [""; 0]);
    assert!(file.values(&[]).unwrap().iter().all(|value| !value.is_set));
}

#[test]
fn a_peek_takes_what_is_right_and_nothing_else() {
    let (_home, file) = open(Some("[log]\njson = true\nfilter = \"a=b=c\"\n"));
    let settings = SettingsFile::peek(file.path());
    assert_eq!((settings.log_json, settings.log_filter.as_str()), (true, "info"));
    assert_eq!(SettingsFile::peek(Path::new("/nonexistent")), Settings::default());
}

#[test]
fn an_update_writes_publishes_and_is_private() {
    let (_home, file) = open(None);
    let settings = file.subscribe();
    file.update(&[set("tunnels.connect_timeout", "60")]).unwrap();
    assert_eq!(settings.borrow().connect_timeout, Duration::from_secs(60));
    assert!(settings.has_changed().unwrap());
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let value = file.values(&["tunnels.connect_timeout".to_owned()]).unwrap().remove(0);
    assert_eq!((value.value.as_str(), value.is_set), ("60", true));

    file.update(&[Change { key: "tunnels.connect_timeout".to_owned(), value: None }]).unwrap();
    assert_eq!(**settings.borrow(), Settings::default());
}

#[test]
fn own_writes_are_no_news() {
    let (_home, file) = open(None);
    file.update(&[set("tunnels.connect_timeout", "60")]).unwrap();
    let mut settings = file.subscribe();
    settings.mark_unchanged();
    file.reload();
    assert!(!settings.has_changed().unwrap());
}

#[test]
fn an_update_that_fails_changes_neither_file_nor_values() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    let before = Arc::clone(&file.subscribe().borrow());
    let error =
        file.update(&[set("tunnels.message_rate", "1"), set("tunnels.connect_timeout", "5")]).unwrap_err();
    assert!(error.to_string().contains("from 10 to 120"), "{error}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "[tunnels]\nconnect_timeout = 60\n");
    assert_eq!(*file.subscribe().borrow(), before);
}

#[test]
fn an_update_sees_what_was_edited_by_hand_meanwhile() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    fs::write(file.path(), "# by hand\n[tunnels]\nconnect_timeout = 70\n").unwrap();
    file.update(&[set("tunnels.message_rate", "5")]).unwrap();
    assert_eq!(
        fs::read_to_string(file.path()).unwrap(),
        "# by hand\n[tunnels]\nconnect_timeout = 70\nmessage_rate = 5\n"
    );
    assert_eq!(file.subscribe().borrow().connect_timeout, Duration::from_secs(70));
}

#[test]
fn a_wrong_value_is_told_and_mended() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    fs::write(file.path(), "[tunnels]\nconnect_timeout = 999\n").unwrap();
    file.reload();
    assert_eq!(
        file.subscribe().borrow().connect_timeout,
        Duration::from_secs(60),
        "the old one stays in force"
    );
    assert!(
        file.problems()[0].contains("settings.toml:2:19: tunnels.connect_timeout"),
        "{:?}",
        file.problems()
    );
    fs::write(file.path(), "[tunnels]\nconnect_timeout = 99\n").unwrap();
    file.reload();
    assert_eq!(file.problems(), [""; 0]);
    assert_eq!(file.subscribe().borrow().connect_timeout, Duration::from_secs(99));
}

#[test]
fn a_deleted_file_means_defaults_again() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    fs::remove_file(file.path()).unwrap();
    file.reload();
    assert_eq!(**file.subscribe().borrow(), Settings::default());
}

#[test]
fn what_cannot_be_read_is_a_problem_and_no_end() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    file.reload();
    assert!(file.problems()[0].contains("cannot be read"), "{:?}", file.problems());
    assert_eq!(file.subscribe().borrow().connect_timeout, Duration::from_secs(60));
    assert!(file.update(&[set("tunnels.message_rate", "5")]).is_err());
    fs::remove_dir(file.path()).unwrap();
    file.reload();
    assert_eq!(file.problems(), [""; 0]);
}

#[test]
fn bytes_that_are_no_text_are_a_problem_and_no_end() {
    let (_home, file) = open(None);
    fs::write(file.path(), [0xFF, 0xFE, 0x00]).unwrap();
    file.reload();
    assert!(file.problems()[0].contains("cannot be read"), "{:?}", file.problems());
}

#[test]
fn a_symbolic_link_stays_one() {
    let home = TempDir::new().unwrap();
    let real = home.path().join("dotfiles.toml");
    let link = home.path().join("settings.toml");
    fs::write(&real, "# mine\n").unwrap();
    symlink(&real, &link).unwrap();
    SettingsFile::open(&link).update(&[set("tunnels.message_rate", "5")]).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("message_rate = 5"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no temporary file is left");
}

#[tokio::test]
async fn a_change_of_the_file_shows_by_itself() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    let tasks = Tasks::new();
    file.watch(&tasks).unwrap();
    let mut settings = file.subscribe();
    // As editors do it: another file takes the name.
    let new = file.path().with_extension("swap");
    fs::write(&new, "[tunnels]\nconnect_timeout = 77\n").unwrap();
    fs::rename(&new, file.path()).unwrap();
    let wanted = |settings: &Arc<Settings>| settings.connect_timeout == Duration::from_secs(77);
    tokio::time::timeout(DEADLINE, settings.wait_for(wanted)).await.expect("noticed").unwrap();
    tasks.shutdown(DEADLINE).await.unwrap();
}

fn open(text: Option<&str>) -> (TempDir, Arc<SettingsFile>) {
    let home = TempDir::new().unwrap();
    let path = home.path().join("settings.toml");
    if let Some(text) = text {
        fs::write(&path, text).unwrap();
    }
    let file = SettingsFile::open(&path);
    (home, file)
}

fn set(key: &str, value: &str) -> Change {
    Change { key: key.to_owned(), value: Some(value.to_owned()) }
}

#[test]
fn a_text_takes_the_place_of_the_one_that_it_was_made_from() {
    let (_home, file) = open(None);
    let etag = file.etag().unwrap();
    let wanted = "# mine\n[tunnels]\nconnect_timeout = 60 # slow VPN\nmax_connections = 1024\n";
    let Replaced::Written(changed) = file.replace(wanted.to_owned(), &etag).unwrap() else { panic!() };
    let changed: Vec<_> = changed.iter().map(|value| (value.setting.key, value.value.as_str())).collect();
    assert_eq!(changed[0], ("tunnels.connect_timeout", "60"));
    assert_eq!(fs::read_to_string(file.path()).unwrap(), wanted);
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(file.subscribe().borrow().connect_timeout, Duration::from_secs(60));

    let etag = file.etag().unwrap();
    let Replaced::Written(changed) = file.replace(format!("{wanted}\n# more\n"), &etag).unwrap() else {
        panic!()
    };
    assert!(changed.is_empty(), "a comment changes no setting: {changed:?}");
}

#[test]
fn a_wrong_text_is_refused_with_all_that_is_wrong_and_the_old_one_stays() {
    let (_home, file) = open(Some("[tunnels]\nconnect_timeout = 60\n"));
    let etag = file.etag().unwrap();
    let wrong = "[tunnels]\nconnect_timeout = 5\n  spead = 1\n";
    let Replaced::Refused(problems) = file.replace(wrong.to_owned(), &etag).unwrap() else { panic!() };
    let problems: Vec<_> = problems.iter().map(|problem| problem.in_file(Path::new("s.toml"))).collect();
    assert!(problems[0].starts_with("s.toml:2:19: tunnels.connect_timeout"), "{problems:?}");
    assert!(problems[0].contains("whole seconds from 10 to 120; \"60\" stays in force"), "{problems:?}");
    assert!(problems[1].starts_with("s.toml:3:3: there is no setting \"tunnels.spead\""), "{problems:?}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "[tunnels]\nconnect_timeout = 60\n");
    assert_eq!(file.problems(), [""; 0], "what was refused is no problem of the file");
    assert_eq!(file.etag().unwrap(), etag);
}

#[test]
fn a_text_that_was_made_from_another_one_is_not_written() {
    let (_home, file) = open(None);
    let etag = file.etag().unwrap();
    // By somebody's editor, and not read yet.
    fs::write(file.path(), "").unwrap();
    let replaced = file.replace("[log]\n".to_owned(), &etag).unwrap();
    assert!(matches!(replaced, Replaced::ChangedMeanwhile), "{replaced:?}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "");
}

#[test]
fn another_password_is_a_change_though_it_looks_the_same() {
    let (_home, file) = open(Some("[network]\nproxy = \"http://me:ONE@proxy:1\"\n"));
    let etag = file.etag().unwrap();
    let text = "[network]\nproxy = \"http://me:TWO@proxy:1\"\n";
    let Replaced::Written(changed) = file.replace(text.to_owned(), &etag).unwrap() else { panic!() };
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].value, "http://me:***@proxy:1");
}
