//! Help on what is not one command's own.

use super::facts::{EXIT_CODES, FILES, VARIABLES, faults, meaning};
use super::text::{list, paragraph};

/// Something to read about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// What the program returns.
    ExitCodes,
    /// Which tunnels a command is about.
    Selectors,
    /// What tunnels go through.
    Targets,
    /// Settings, variables and files, and which of them counts.
    Config,
    /// The forms of the output.
    Output,
}

impl Topic {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::ExitCodes, Self::Selectors, Self::Targets, Self::Config, Self::Output];

    /// As it is asked for.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ExitCodes => "exit-codes",
            Self::Selectors => "selectors",
            Self::Targets => "targets",
            Self::Config => "config",
            Self::Output => "output",
        }
    }

    /// In a few words.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::ExitCodes => "What stctl returns to a script",
            Self::Selectors => "How to say which tunnels are meant: names, labels, all",
            Self::Targets => "How to say what a tunnel goes through",
            Self::Config => "Settings, variables and files, and which of them counts",
            Self::Output => "Forms of the output, for people and for programs",
        }
    }

    /// The topic of that name. A command of the same name has its help with `--help`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// All that there is to say, in lines of at most 80 columns.
    pub(crate) fn text(self) -> String {
        let text = match self {
            Self::ExitCodes => exit_codes(),
            Self::Selectors => selectors(),
            Self::Targets => targets(),
            Self::Config => config(),
            Self::Output => output(),
        };
        format!("{}\n\n{text}", self.about())
    }
}

fn exit_codes() -> String {
    let numbers = EXIT_CODES.map(|code| (code as u8).to_string());
    let entries = numbers.iter().zip(EXIT_CODES).map(|(number, code)| {
        let faults = faults(code);
        let faults = if faults.is_empty() { String::new() } else { format!(" ({})", faults.join(", ")) };
        (number.as_str(), format!("{}{faults}", meaning(code)))
    });
    let entries = list(entries);
    let several = paragraph(
        "Of several tunnels that end in several ways the highest number is returned. In brackets are the faults that end with \
         a code; with -o json an error says its own in `kind`.",
    );
    let example = "  stctl up db; [ $? -eq 4 ] && stctl sso login\n";
    format!("{entries}\n{several}\nExample:\n{example}")
}

fn selectors() -> String {
    let forms = list([
        ("NAME...", "Tunnels by name, or by the id that `stctl tunnel show` tells.".to_owned()),
        ("--all", "All tunnels.".to_owned()),
        (
            "-l LABELS",
            "Tunnels by the labels that `stctl tunnel add --label KEY=VALUE` gave them.".to_owned(),
        ),
    ]);
    let labels = list([
        ("KEY=VALUE", "The label KEY is VALUE.".to_owned()),
        ("KEY!=VALUE", "It is something else, or there is none.".to_owned()),
        ("KEY", "There is a label KEY, whatever its value.".to_owned()),
        ("!KEY", "There is none.".to_owned()),
    ]);
    let rest = paragraph(
        "With commas between, all of them have to hold. When no tunnel is selected by its labels, that is an error (6). Where \
         names are optional, as for `ls`, `status` and `watch`, none means all. `stctl tunnel rm` asks before it removes what \
         --all or -l selects, or needs --yes.",
    );
    let examples = "  stctl up db cache\n  stctl down --all\n  stctl restart -l env=prod,team!=data\n  \
                    stctl ls -l '!env'\n";
    format!(
        "A command takes one of\n\n{forms}\nLABELS are\n\n{labels}\n{rest}\nExamples (\"!\" needs quotes in a shell):\n{examples}"
    )
}

fn targets() -> String {
    let nodes = list([
        ("i-...", "An instance of EC2.".to_owned()),
        ("mi-...", "A hybrid node.".to_owned()),
        ("ecs:CLUSTER_TASK_RUNTIME", "An ECS container.".to_owned()),
    ]);
    let forms = list([
        ("name:VALUE", "The instance with this tag Name.".to_owned()),
        ("tag:KEY=VALUE[,KEY=VALUE]", "The instance with all of these tags.".to_owned()),
        ("asg:NAME", "One of an Auto Scaling group.".to_owned()),
        ("ip:ADDRESS", "The one with this private address.".to_owned()),
        ("dns:NAME", "The one with this private DNS name.".to_owned()),
        (
            "ecs-service:CLUSTER/SERVICE[/CONTAINER]",
            "A container of a running task of the service.".to_owned(),
        ),
        ("ecs-task:CLUSTER/TASK[/CONTAINER]", "A container of the task.".to_owned()),
    ]);
    let rest = paragraph(
        "Such a target is looked for at each new session, so that a tunnel follows an instance or a task that is replaced. Of \
         several that run, one whose SSM agent is online is taken, the newest first, and another one when that fails. A task \
         has to run with ECS Exec; CONTAINER is needed where it has several.",
    );
    let examples = "  stctl targets\n  stctl targets tag:Role=bastion,Env=prod --profile prod\n  \
                    stctl tunnel add db --target ecs-service:main/web --remote db.internal:5432\n";
    format!("A node, by its id:\n\n{nodes}\nOr what to look for:\n\n{forms}\n{rest}\nExamples:\n{examples}")
}

fn config() -> String {
    let flags = paragraph(
        "For stctl, a flag counts first, then its variable, then what the daemon or the system says. `tunnel edit`, `profiles` \
         and `sso configure` take the profile from the flag alone.",
    );
    let settings = paragraph(
        "For the daemon, settings count first, then the variables of its own environment, then its defaults; what a tunnel \
         says of itself counts before both. Settings are in one file, and a change of it counts at once. A wrong value is \
         refused, and the old one stays in force.",
    );
    let commands = list([
        ("stctl settings get", "All settings; with -o wide their ranges and meanings, too.".to_owned()),
        ("stctl settings set KEY VALUE", "Change one. Comments in the file stay.".to_owned()),
        ("stctl settings unset KEY", "Go back to its default.".to_owned()),
        ("stctl settings path", "Where the file is.".to_owned()),
    ]);
    let variables = list(VARIABLES.map(|(name, said)| (name, said.to_owned())));
    let environment = paragraph(
        "The daemon does not take over a terminal's profile, keys and region. Proxies, certificates and endpoints are settings: \
         network.*, aws.*.",
    );
    let files: String =
        FILES.iter().map(|(path, said)| format!("  {path}\n{}", list([("", (*said).to_owned())]))).collect();
    format!("{flags}\n{settings}\n{commands}\nVariables:\n\n{variables}\n{environment}\nFiles:\n\n{files}")
}

fn output() -> String {
    let forms = list([
        ("-o table", "For people; the default. It fits the terminal.".to_owned()),
        ("-o wide", "For people, with all columns, however long the lines.".to_owned()),
        ("-o json", "For programs: one document; what goes on is one line per record.".to_owned()),
        ("-o yaml", "The same as YAML; what goes on is one document per record.".to_owned()),
        ("-o name", "Names alone, one per line.".to_owned()),
    ]);
    let rest = paragraph(
        "Standard output has what was asked for, standard error all else: remarks, progress, questions and errors. With -o \
         json an error is one line of JSON there. The fields are in docs/output.md: new ones may come, and none goes or \
         changes its meaning without a new version.",
    );
    let examples = "  stctl ls -o json | jq -r '.[].name'\n  \
                    stctl watch -o json | jq .tunnel.status.state\n  \
                    stctl down $(stctl ls -l env=dev -o name)\n";
    format!("{forms}\n{rest}\nExamples:\n{examples}")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use stormtunnel_model::{Selector, Target};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_help_of_help_names_each_topic() {
        let program = Cli::command();
        let about = program.find_subcommand("help").unwrap().get_about().unwrap().to_string();
        for topic in Topic::ALL {
            assert!(about.contains(topic.name()), "{about}");
            assert_eq!(Topic::named(topic.name()), Some(topic));
        }
    }

    /// An example that cannot be parsed would teach a mistake.
    #[test]
    fn each_example_can_be_parsed() {
        let mut lines = 0;
        for topic in Topic::ALL {
            for line in topic.text().lines().filter_map(|line| line.strip_prefix("  stctl ")) {
                let command = line.split([';', '|', '$']).next().unwrap().split("  ").next().unwrap();
                let words = command.replace('\'', "").replace("KEY", "log.filter").replace("VALUE", "info");
                let words = ["stctl"].into_iter().chain(words.split_whitespace());
                assert!(Cli::try_parse_from(words.clone()).is_ok() || line.contains("$("), "{line}");
                lines += 1;
            }
        }
        assert!(lines > 10, "{lines}");
    }

    #[test]
    fn each_form_is_one() {
        let (targets, selectors) = (targets(), selectors());
        let instead = [
            ("...", "0123456789abcdef0"),
            ("[,KEY=VALUE]", ",b=c"),
            ("[/CONTAINER]", "/app"),
            (
                "CLUSTER_TASK_RUNTIME",
                "main_0123456789abcdef0123456789abcdef_0123456789abcdef0123456789abcdef-1",
            ),
            ("CLUSTER/TASK", "main/0123456789abcdef0123456789abcdef"),
            ("ADDRESS", "10.0.1.2"),
        ];
        let mut forms = 0;
        for line in targets.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let form = line.split_whitespace().next().unwrap();
            if form != "stctl" {
                let text = instead.iter().fold(form.to_owned(), |text, (from, to)| text.replace(from, to));
                assert!(text.parse::<Target>().is_ok(), "{form}: {:?}", text.parse::<Target>());
                forms += 1;
            }
        }
        assert_eq!(forms, 10);
        for form in ["KEY=VALUE", "KEY!=VALUE", "KEY", "!KEY"] {
            assert!(selectors.contains(&format!("  {form} ")) && form.parse::<Selector>().is_ok(), "{form}");
        }
    }
}
