//! `settings`: reads and changes them through the daemon, which owns the file.

mod edit;

use stormtunnel_model::ExitCode;
use stormtunnel_proto::calls::{SettingChange, SettingState};

use super::{Ending, without_repeats};
use crate::cli::{Format, SettingsVerb};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::render::tables;
use crate::render::views::SettingView;

pub(super) async fn run(context: &mut Context<'_>, verb: &SettingsVerb) -> Ending {
    match verb {
        SettingsVerb::Get { keys } => show(context, keys).await,
        SettingsVerb::Set { key, value } => {
            let change = SettingChange { key: key.clone(), value: Some(value.clone()) };
            update(context, vec![change]).await
        }
        SettingsVerb::Unset { keys } => {
            let unset = |key: String| SettingChange { key, value: None };
            update(context, without_repeats(keys).into_iter().map(unset).collect()).await
        }
        SettingsVerb::Edit => edit::run(context).await,
        SettingsVerb::Path => {
            let state = context.client().await?.settings(&[]).await?;
            match context.out.format {
                Format::Json | Format::Yaml => context.out.document(&state.path)?,
                Format::Table | Format::Wide | Format::Name => context.out.text(&state.path)?,
            }
            Ok(ExitCode::Ok)
        }
    }
}

async fn show(context: &mut Context<'_>, keys: &[String]) -> Ending {
    let state = context.client().await?.settings(&without_repeats(keys)).await?;
    if let Some(problem) = &state.problem {
        context.out.note(&format!("warning: {}: {problem}; the last good values are in force", state.path));
    }
    match (context.out.format, state.settings.as_slice()) {
        (Format::Table, [only]) if keys.len() == 1 => context.out.text(&format!("{}\n", only.value))?,
        (_, settings) => print(&mut context.out, settings)?,
    }
    Ok(ExitCode::Ok)
}

async fn update(context: &mut Context<'_>, changes: Vec<SettingChange>) -> Ending {
    let changed = context.client().await?.update_settings(changes).await?;
    show_changed(context, &changed)
}

fn show_changed(context: &mut Context<'_>, changed: &[SettingState]) -> Ending {
    match context.out.format {
        Format::Table | Format::Wide => {
            for setting in changed {
                context.out.text(&format!("{} is {}", setting.key, shown(setting)))?;
            }
        }
        Format::Json | Format::Yaml | Format::Name => print(&mut context.out, changed)?,
    }
    Ok(ExitCode::Ok)
}

fn shown(setting: &SettingState) -> String {
    let value = if setting.value.is_empty() { "not set" } else { &setting.value };
    if setting.is_set { value.to_owned() } else { format!("{value} (default)") }
}

fn print(out: &mut Output<'_>, settings: &[SettingState]) -> Result<(), Failure> {
    match out.format {
        Format::Table | Format::Wide => {
            let table = tables::settings(settings, out.format == Format::Wide, out.width);
            out.text(&table)
        }
        Format::Json | Format::Yaml => {
            out.document(&settings.iter().map(SettingView::of).collect::<Vec<_>>())
        }
        Format::Name => {
            out.text(&settings.iter().map(|setting| format!("{}\n", setting.key)).collect::<String>())
        }
    }
}
