//! Tables that fit the terminal.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};
use stormtunnel_model::{AgentStatus, Candidate, Statistics, Timestamp, Tunnel, TunnelStatistics};
use stormtunnel_proto::calls::SettingState;

use super::wrap::{columns, plain, wrapped};
use super::{Style, Tone, address, times};

/// Tunnels as `ls` shows them: one line each, whatever the width. What does not fit is left out where `-o wide` and
/// `tunnel show` have it: the middle of long remote ends, then the targets.
pub fn tunnels(tunnels: &[Tunnel], style: Style, width: Option<u16>) -> String {
    let layout = width.map_or(Layout::WHOLE, |width| Layout::fitting(tunnels, usize::from(width)));
    let header: &[&str] = if layout.with_target { &COMMON } else { &COMMON[..4] };
    let mut table = table(header, style, None);
    for tunnel in tunnels {
        let mut cells = common_cells(tunnel, style, layout.remote);
        cells.truncate(header.len());
        table.add_row(cells);
    }
    fitted(&mut table, width)
}

/// Tunnels with everything that there is to say in a line.
pub fn wide_tunnels(tunnels: &[Tunnel], now: Timestamp, style: Style, width: Option<u16>) -> String {
    let more = ["NODE", "PROFILE", "REGION", "SINCE", "STOPS IN", "CONNS", "SENT", "RECEIVED"];
    let header: Vec<&str> = COMMON.into_iter().chain(more).collect();
    let mut table = table(&header, style, None);
    for tunnel in tunnels {
        let status = &tunnel.status;
        let mut cells = common_cells(tunnel, style, usize::MAX);
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        cells.extend([
            Cell::new(or_dash(status.node.as_ref().map(|node| node.as_str()))),
            Cell::new(or_dash(tunnel.spec.profile.as_ref().map(|profile| profile.as_str()))),
            Cell::new(or_dash(tunnel.spec.region.as_ref().map(|region| region.as_str()))),
            Cell::new(times::span(now.since(status.since))),
            Cell::new(tunnel.terms.stops_at.map_or("-".to_owned(), |end| times::span(end.since(now)))),
            Cell::new(status.connections),
            Cell::new(times::bytes(status.traffic.sent)),
            Cell::new(times::bytes(status.traffic.received)),
        ]);
        table.add_row(cells);
    }
    fitted(&mut table, width)
}

/// The columns of every table of tunnels.
const COMMON: [&str; 5] = ["NAME", "STATE", "LOCAL", "REMOTE", "TARGET"];

/// Spaces between columns.
const GAP: usize = 2;

/// What of the tunnels is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Longest remote end, in characters.
    remote: usize,
    with_target: bool,
}

impl Layout {
    const WHOLE: Self = Self { remote: usize::MAX, with_target: true };

    /// A remote end that is cut shorter than this cannot be told from others any more.
    const LEAST_REMOTE: usize = 20;

    fn fitting(tunnels: &[Tunnel], width: usize) -> Self {
        let widest = |text: fn(&Tunnel) -> String, heading: &str| {
            let cells = tunnels.iter().map(|tunnel| text(tunnel).chars().count());
            cells.max().unwrap_or_default().max(heading.len())
        };
        let name = widest(|tunnel| tunnel.spec.name.to_string(), "NAME");
        let state = widest(|tunnel| tunnel.status.state.label().to_owned(), "STATE");
        let target = widest(|tunnel| tunnel.spec.target.to_string(), "TARGET");
        let remote = widest(|tunnel| tunnel.spec.remote.to_string(), "REMOTE");
        let before_remote = name + state + widest(local, "LOCAL") + 3 * GAP;
        let beside_target = width.saturating_sub(before_remote + GAP + target);
        if beside_target >= remote.min(Self::LEAST_REMOTE) {
            Self { remote: beside_target, with_target: true }
        } else {
            Self { remote: width.saturating_sub(before_remote).max(Self::LEAST_REMOTE), with_target: false }
        }
    }
}

/// The text with its middle left out where it has more than `most` characters: both ends of a host name tell it apart.
fn shortened(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (head, tail) = (kept / 2, kept - kept / 2);
    let ends = text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail));
    ends.collect()
}

/// What a person has to know beside the table, one sentence each: why tunnels are not up, and which ones other machines
/// can use.
pub fn notes(tunnels: &[Tunnel], now: Timestamp) -> Vec<String> {
    let faulted = tunnels.iter().filter_map(|tunnel| Some((tunnel, tunnel.status.state.fault()?)));
    let name = |tunnel: &Tunnel| tunnel.spec.name.to_string();
    let faults = faulted.map(|(tunnel, fault)| format!("{}: {fault}; see `stctl status {0}`", name(tunnel)));
    let open: Vec<String> =
        tunnels.iter().filter(|tunnel| tunnel.spec.local.is_open_to_network()).map(name).collect();
    let open =
        (!open.is_empty()).then(|| format!("{OPEN_MARK} other machines can connect to {}", open.join(", ")));
    faults.chain(open).chain(queue(tunnels, now)).collect()
}

/// Marks a local end that other machines can connect to.
const OPEN_MARK: &str = "!";

/// The local end as a table shows it.
fn local(tunnel: &Tunnel) -> String {
    let mark = if tunnel.spec.local.is_open_to_network() { format!(" {OPEN_MARK}") } else { String::new() };
    format!("{}{mark}", address(tunnel))
}

/// How many tunnels wait for their turn to start a session, and for how long.
fn queue(tunnels: &[Tunnel], now: Timestamp) -> Option<String> {
    let turns = || tunnels.iter().filter_map(|tunnel| tunnel.status.turn_at);
    let last = times::span(turns().max()?.since(now));
    Some(match turns().count() {
        1 => format!("1 tunnel waits for its turn to start a session, in {last}"),
        waiting => {
            format!("{waiting} tunnels wait for their turn to start a session, the last one in {last}")
        }
    })
}

/// Nodes that tunnels could go through.
pub fn targets(candidates: &[Candidate], wide: bool, style: Style, width: Option<u16>) -> String {
    let header = ["NAME", "NODE", "ADDRESS", "AGENT", "PLATFORM", "LAUNCHED"];
    let header = if wide { &header[..] } else { &header[..5] };
    let mut table = table(header, style, None);
    let or_dash = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
    for Candidate { node, name, address, agent, platform, launched_at } in candidates {
        let status = Cell::new(agent.name());
        let status = if style.colour { status.fg(cell_colour(agent_tone(*agent))) } else { status };
        let mut cells = vec![
            or_dash(name.clone()),
            Cell::new(node),
            or_dash(address.map(|address| address.to_string())),
            status,
            or_dash(platform.clone()),
        ];
        if wide {
            cells.push(or_dash(launched_at.map(times::rfc3339)));
        }
        table.add_row(cells);
    }
    fitted(&mut table, width)
}

fn agent_tone(agent: AgentStatus) -> Tone {
    match agent {
        AgentStatus::Online => Tone::Good,
        AgentStatus::Unknown => Tone::Moving,
        AgentStatus::Lost => Tone::Bad,
        AgentStatus::Unregistered => Tone::Off,
    }
}

/// Settings.
pub fn settings(settings: &[SettingState], wide: bool, width: Option<u16>) -> String {
    let header: &[&str] =
        if wide { &["KEY", "VALUE", "DEFAULT", "RANGE", "MEANING"] } else { &["KEY", "VALUE", "DEFAULT"] };
    let mut table = table(header, Style::default(), width);
    for setting in settings {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let mut row = vec![setting.key.clone(), or_dash(&setting.value), or_dash(&setting.default_value)];
        if wide {
            row.extend([setting.range.clone(), setting.meaning.clone()]);
        }
        table.add_row(row);
    }
    finished(&mut table, 1)
}

/// Figures of tunnels: two lines each, one per span of time.
pub fn statistics(tunnels: &[TunnelStatistics], style: Style, width: Option<u16>) -> String {
    let header = ["NAME", "SINCE", "UP", "SENT", "RECEIVED", "CONNECTIONS", "SESSIONS", "RECONNECTS"];
    let mut table = table(&header, style, None);
    for TunnelStatistics { name, since_created, since_started, .. } in tunnels {
        for (since, figures) in [("created", since_created), ("daemon", since_started)] {
            let Statistics { traffic, connections, sessions, reconnects, uptime } = figures;
            table.add_row(vec![
                Cell::new(name),
                Cell::new(since),
                Cell::new(times::span(*uptime)),
                Cell::new(times::bytes(traffic.sent)),
                Cell::new(times::bytes(traffic.received)),
                Cell::new(connections),
                Cell::new(sessions),
                Cell::new(reconnects),
            ]);
        }
    }
    fitted(&mut table, width)
}

fn common_cells(tunnel: &Tunnel, style: Style, longest_remote: usize) -> Vec<Cell> {
    let state = Cell::new(tunnel.status.state.label());
    let state = if style.colour { state.fg(cell_colour(Tone::of(&tunnel.status.state))) } else { state };
    vec![
        Cell::new(&tunnel.spec.name),
        state,
        local_cell(tunnel, style),
        Cell::new(shortened(&tunnel.spec.remote.to_string(), longest_remote)),
        Cell::new(&tunnel.spec.target),
    ]
}

fn local_cell(tunnel: &Tunnel, style: Style) -> Cell {
    let cell = Cell::new(local(tunnel));
    let warns = style.colour && tunnel.spec.local.is_open_to_network();
    if warns { cell.fg(cell_colour(Tone::Bad)) } else { cell }
}

pub(super) fn cell_colour(tone: Tone) -> Color {
    match tone {
        Tone::Good => Color::Green,
        Tone::Moving => Color::Yellow,
        Tone::Bad => Color::Red,
        Tone::Off => Color::DarkGrey,
    }
}

pub(super) fn table(header: &[&str], style: Style, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heading = |text: &&str| {
        let cell = Cell::new(text);
        if style.colour { cell.add_attribute(Attribute::Bold) } else { cell }
    };
    table.set_header(header.iter().map(heading));
    match width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    // Whether there are colours is decided before; the table must not look at the process's terminal.
    if style.colour {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table
}

/// The first `whole` columns are never broken over lines: they are what people copy.
pub(super) fn finished(table: &mut Table, whole: usize) -> String {
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index < whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    format!("{}\n", table.trim_fmt())
}

/// The table, or where it is wider than the terminal a block per row: a line that breaks cannot be read.
pub(super) fn fitted(table: &mut Table, width: Option<u16>) -> String {
    let whole = finished(table, 0);
    // Behind the last column of a table with colours there are spaces.
    let is_wider = |line: &str, width: u16| columns(plain(line).trim_end()) > usize::from(width);
    match width {
        Some(width) if whole.lines().any(|line| is_wider(line, width)) => blocks(table, width),
        Some(_) | None => whole,
    }
}

/// A line per cell, behind its heading. Cells without anything are left out.
fn blocks(table: &Table, width: u16) -> String {
    let headings: Vec<String> = table.header().map(texts).unwrap_or_default();
    let indent = headings.iter().map(|heading| columns(heading)).max().unwrap_or_default() + GAP;
    let line = |(heading, text): (&String, String)| {
        let line = wrapped(&format!("{heading:<indent$}{text}"), Some(width), indent);
        (text != "-").then(|| line + "\n")
    };
    let block = |row: &Row| headings.iter().zip(texts(row)).filter_map(line).collect::<String>();
    table.row_iter().map(block).collect::<Vec<_>>().join("\n")
}

fn texts(row: &Row) -> Vec<String> {
    row.cell_iter().map(Cell::content).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_long_text_stay() {
        assert_eq!(shortened("db.internal:5432", 16), "db.internal:5432");
        assert_eq!(shortened("db.internal:5432", 9), "db.i…5432");
        assert_eq!(shortened("äöüäöü", 3), "ä…ü");
    }
}
