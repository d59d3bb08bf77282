//! Forms of the output.

use std::ffi::OsString;

use clap::ValueEnum;

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with more columns
    Wide,
    /// For programs, as docs/output.md describes; what goes on prints one object per line
    Json,
    /// For programs, with the same fields
    Yaml,
    /// Names only, one per line
    Name,
}

impl Format {
    /// What a command line asks for that is not understood otherwise: whoever reads mistakes may be a program.
    pub(crate) fn asked_for(args: &[OsString]) -> Self {
        let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
        let joined =
            args.iter().find_map(|arg| arg.strip_prefix("--output=").or_else(|| arg.strip_prefix("-o")));
        let apart = args.windows(2).find(|pair| ["-o", "--output"].contains(&pair[0])).map(|pair| pair[1]);
        let name = apart.or(joined).map(|name| name.trim_start_matches('='));
        name.and_then(|name| Self::from_str(name, false).ok()).unwrap_or_default()
    }

    pub(crate) fn is_for_people(self) -> bool {
        match self {
            Self::Table | Self::Wide => true,
            Self::Json | Self::Yaml | Self::Name => false,
        }
    }
}
