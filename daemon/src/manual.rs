//! The manual page of the daemon, from its command line. Those of `stctl` come from `stctl man-pages`.

use std::io;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::Args;

/// What the command line does not say of its surroundings. Flags name their own variables.
const VARIABLES: [(&str, &str); 5] = [
    ("STORMTUNNEL_SOCKET, STORMTUNNEL_STATE_DIR, STORMTUNNEL_CONFIG", "As the flags, which count first."),
    (
        "HTTPS_PROXY, ALL_PROXY, NO_PROXY, AWS_CA_BUNDLE, AWS_ENDPOINT_URL_*",
        "The way to AWS. The settings network.* and aws.* count first.",
    ),
    ("AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE", "The files with profiles."),
    ("STORMTUNNEL_AWS_ENVIRONMENT", "When it is 1, as --aws-environment."),
    (
        "AWS_PROFILE, AWS_REGION, AWS_ACCESS_KEY_ID and others with credentials",
        "Dropped: they are some terminal's. Kept with --aws-environment.",
    ),
];

const EXIT_CODES: [(&str, &str); 3] = [
    ("0", "It was told to end; with --detach, a daemon serves."),
    ("1", "It failed."),
    ("2", "The command line cannot be right."),
];

const FILES: [(&str, &str); 3] = [
    (
        "~/.config/stormtunnel/settings.toml",
        "Settings; read anew when it changes. `stctl settings` has them all.",
    ),
    (
        "~/.local/state/stormtunnel/",
        "State: tunnels, history, keys and the log stormtunneld.log. On macOS ~/Library/Application Support/StormTunnel.",
    ),
    (
        "$XDG_RUNTIME_DIR/stormtunnel/daemon.sock",
        "The socket; in the state directory where there is no such directory.",
    ),
];

/// The source of the page.
///
/// # Errors
/// None that memory does not have.
pub fn page() -> io::Result<String> {
    // Without a date; the empty argument keeps its place only in quotes.
    let man = Man::new(Args::command()).date("\"\"").manual("StormTunnel Manual");
    let man = man.source(concat!("StormTunnel ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    rest().to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn rest() -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["EXAMPLES"]);
    page.text([
        roman("Nobody has to start it by hand. "),
        bold("stctl daemon install"),
        roman(" has systemd or"),
    ]);
    page.text([
        roman("launchd run it; else any command that needs it does, such as "),
        bold("stctl ls"),
        roman("."),
    ]);
    page.text([
        roman("To see what it says, end it with "),
        bold("stctl daemon stop"),
        roman(" and run it in a terminal:"),
    ]);
    page.control("PP", []).control("nf", []);
    page.text([roman("    stctl daemon run")]).control("fi", []);
    section(&mut page, "EXIT STATUS", &EXIT_CODES);
    section(&mut page, "ENVIRONMENT", &VARIABLES);
    section(&mut page, "FILES", &FILES);
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("stctl"),
        roman("(1), "),
        bold("stctl-daemon"),
        roman("(1), "),
        bold("stctl-settings"),
        roman("(1)"),
    ]);
    page
}

fn section(page: &mut Roff, heading: &str, entries: &[(&str, &str)]) {
    page.control("SH", [heading]);
    for (name, said) in entries {
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(*said)]);
    }
}
