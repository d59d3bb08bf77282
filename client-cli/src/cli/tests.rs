use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_an_example() {
    fn walk(command: &clap::Command, path: &str) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example"), "`{path} --help` has no example");
        assert!(help.contains("stctl "), "the example of `{path}` is no command line");
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(sub, &format!("{path} {}", sub.get_name()));
        }
    }
    walk(&Cli::command(), "stctl");
}

#[test]
fn every_command_and_every_flag_has_help() {
    fn walk(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "`{path}` says nothing about itself");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.trim().is_empty(), "{} of `{path}` has no help", arg.get_id());
        }
        for sub in command.get_subcommands() {
            walk(sub, &format!("{path} {}", sub.get_name()));
        }
    }
    walk(&Cli::command(), "stctl");
}

/// The command lines of a page, with what stands behind the end of a line.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default().replace("\\\n", " ");
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with("stctl "));
    lines.map(|line| line.split([';', '&', '|']).next().unwrap_or_default().to_owned()).collect()
}

/// What a person cannot guess is how a flag is written.
#[test]
fn every_flag_is_in_an_example_of_its_page() {
    fn walk(command: &clap::Command, path: &str, count: &mut (usize, usize)) {
        let lines = examples(command);
        let words: Vec<&str> = lines.iter().flat_map(|line| line.split([' ', '='])).collect();
        count.0 += 1;
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional()) {
            let long = arg.get_long().map(|long| format!("--{long}"));
            let forms = long.into_iter().chain(arg.get_short().map(|short| format!("-{short}")));
            let is_shown = forms.into_iter().any(|form| words.contains(&form.as_str()));
            assert!(is_shown, "`{path} --help` has no example of {}", arg.get_id());
            count.1 += 1;
        }
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(sub, &format!("{path} {}", sub.get_name()), count);
        }
    }
    let mut count = (0, 0);
    walk(&Cli::command(), "stctl", &mut count);
    println!("promise cli.help: {} pages and {} flags, each with help and an example", count.0, count.1);
}

/// An example that cannot be parsed would teach a mistake.
#[test]
fn every_example_can_be_parsed() {
    fn lines(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(examples(command));
        command.get_subcommands().for_each(|sub| lines(sub, found));
    }
    let mut found = Vec::new();
    lines(&Cli::command(), &mut found);
    assert!(found.len() > 15, "{found:?}");
    for line in found {
        assert!(parse(&line).is_ok(), "{line}: {}", parse(&line).unwrap_err());
    }
}

#[test]
fn add_takes_the_documented_grammar() {
    let line = "stctl tunnel add db --target i-0abcdef1234567890 --remote [fd00::1]:5432 --local 127.0.0.2:auto \
                --profile prod --region eu-west-1 --up";
    let cli = parse(line).unwrap();
    let Verb::Tunnel(TunnelVerb::Add(add)) = cli.verb else { panic!("{line}") };
    assert_eq!(add.remote.to_string(), "[fd00::1]:5432");
    assert_eq!(add.local.to_string(), "127.0.0.2:auto");
    assert!(add.up && !add.allow_non_loopback);
    assert_eq!(cli.globals.profile.unwrap().as_str(), "prod");
}

#[test]
fn a_flag_with_an_optional_value_takes_no_name_for_it() {
    for (line, expected) in [
        ("stctl tunnel edit --allow-non-loopback db", Some(true)),
        ("stctl tunnel edit db --allow-non-loopback", Some(true)),
        ("stctl tunnel edit --allow-non-loopback=false db", Some(false)),
        ("stctl tunnel edit db", None),
    ] {
        let Verb::Tunnel(TunnelVerb::Edit(edit)) = parse(line).unwrap().verb else { panic!("{line}") };
        assert_eq!(
            (edit.selection.tunnels, edit.allow_non_loopback),
            (vec!["db".to_owned()], expected),
            "{line}"
        );
    }
}

#[test]
fn what_cannot_be_right_is_refused_with_its_rule() {
    for (line, rule) in [
        ("stctl tunnel add DB --target i-12345678 --remote 1", "a to z"),
        ("stctl tunnel add db --target web --remote 1", "instance id"),
        ("stctl tunnel add db --target i-12345678 --remote 0", "1 to 65535"),
        ("stctl tunnel add db --target i-12345678 --remote 1 --local x", "auto"),
        ("stctl tunnel add db --target i-12345678 --remote 1 --region moon", "eu-west-1"),
        ("stctl up db --all", "--all"),
        ("stctl up", "NAME"),
        ("stctl up db --timeout soon", "ms, s, m or h"),
        ("stctl up db --timeout=-1", "TIME"),
        ("stctl up db --no-wait --timeout 3", "--timeout"),
        ("stctl ls -o xml", "table"),
        ("stctl tunnel edit db --profile p --no-profile", "--no-profile"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(rule), "{line}: {error}");
    }
}

#[test]
fn ages_have_days_too() {
    assert_eq!(parse_age("7d"), Ok(Duration::from_secs(7 * 86_400)));
    assert_eq!(parse_age("1.5d"), Ok(Duration::from_secs(36 * 3600)));
    assert_eq!(parse_age("90"), Ok(Duration::from_secs(90)));
    for text in ["d", "-1d", "1w", "", "soon", "infd"] {
        assert!(parse_age(text).unwrap_err().contains("m, h or d"), "{text}");
    }
}

#[test]
fn times_have_units() {
    for (text, millis) in
        [("30", 30_000), ("1.5", 1500), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("0", 0)]
    {
        assert_eq!(parse_timeout(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "-1", "1d", "nan", "inf"] {
        assert!(parse_timeout(text).is_err(), "{text}");
    }
}
