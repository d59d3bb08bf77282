//! Tables that fit the terminal.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use stormtunnel_model::{Timestamp, Tunnel};
use stormtunnel_proto::calls::SettingState;

use super::{Style, Tone, address, times};

/// Tunnels as `ls` shows them.
pub fn tunnels(tunnels: &[Tunnel], style: Style, width: Option<u16>) -> String {
    let mut table = table(&["NAME", "STATE", "LOCAL", "REMOTE", "TARGET"], style, width);
    for tunnel in tunnels {
        table.add_row(common_cells(tunnel, style));
    }
    finished(&mut table, 2)
}

/// Tunnels with everything that fits into a line.
pub fn wide_tunnels(tunnels: &[Tunnel], now: Timestamp, style: Style, width: Option<u16>) -> String {
    let header = [
        "NAME", "STATE", "LOCAL", "REMOTE", "TARGET", "PROFILE", "REGION", "SINCE", "CONNS", "SENT",
        "RECEIVED",
    ];
    let mut table = table(&header, style, width);
    for tunnel in tunnels {
        let status = &tunnel.status;
        let mut cells = common_cells(tunnel, style);
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        cells.extend([
            Cell::new(or_dash(tunnel.spec.profile.as_ref().map(|profile| profile.as_str()))),
            Cell::new(or_dash(tunnel.spec.region.as_ref().map(|region| region.as_str()))),
            Cell::new(times::span(now.since(status.since))),
            Cell::new(status.connections),
            Cell::new(times::bytes(status.traffic.sent)),
            Cell::new(times::bytes(status.traffic.received)),
        ]);
        table.add_row(cells);
    }
    finished(&mut table, 2)
}

/// Why tunnels are not up, one sentence each.
pub fn reasons(tunnels: &[Tunnel]) -> Vec<String> {
    let faulted = tunnels.iter().filter_map(|tunnel| Some((tunnel, tunnel.status.state.fault()?)));
    let name = |tunnel: &Tunnel| tunnel.spec.name.to_string();
    faulted.map(|(tunnel, fault)| format!("{}: {fault}; see `stctl status {0}`", name(tunnel))).collect()
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

fn common_cells(tunnel: &Tunnel, style: Style) -> Vec<Cell> {
    let state = Cell::new(tunnel.status.state.label());
    let state = if style.colour { state.fg(cell_colour(Tone::of(&tunnel.status.state))) } else { state };
    vec![
        Cell::new(&tunnel.spec.name),
        state,
        Cell::new(address(tunnel)),
        Cell::new(&tunnel.spec.remote),
        Cell::new(&tunnel.spec.target),
    ]
}

fn cell_colour(tone: Tone) -> Color {
    match tone {
        Tone::Good => Color::Green,
        Tone::Moving => Color::Yellow,
        Tone::Bad => Color::Red,
        Tone::Off => Color::DarkGrey,
    }
}

fn table(header: &[&str], style: Style, width: Option<u16>) -> Table {
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
fn finished(table: &mut Table, whole: usize) -> String {
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index < whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    format!("{}\n", table.trim_fmt())
}
