//! The board of the profiles, which shows what is wrong in their files as well.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _};
use stormtunnel_model::{AwsProfile, FileProblem, Profile, ProfileList, Revision};

use crate::board::{Change, News, Row, Watcher};

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileNews {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What it brings.
    pub change: ProfileChange,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileChange {
    /// Replaces all that the watcher knows.
    Snapshot(ProfileList),
    /// One profile is new or different.
    Changed(Box<AwsProfile>),
    /// One profile is gone.
    Removed(Profile),
    /// Something else is wrong in the files than before, or nothing any more.
    Problems(Vec<FileProblem>),
    /// The first message to a watcher that resumes: nothing was lost, changes follow.
    Resumed,
}

/// What stands on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// There is none where nothing is wrong.
    Problems(Vec<FileProblem>),
    Profile(Box<AwsProfile>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LineName {
    Problems,
    Profile(Profile),
}

impl Row for Line {
    type Name = LineName;

    fn name(&self) -> LineName {
        match self {
            Self::Problems(_) => LineName::Problems,
            Self::Profile(profile) => LineName::Profile(profile.name.clone()),
        }
    }
}

/// All that stands on it.
pub(super) fn list(lines: Vec<Line>) -> ProfileList {
    let mut list = ProfileList::default();
    for line in lines {
        match line {
            Line::Problems(problems) => list.problems = problems,
            Line::Profile(profile) => list.profiles.push(*profile),
        }
    }
    list
}

impl From<News<Line>> for ProfileNews {
    fn from(News { revision, change }: News<Line>) -> Self {
        let change = match change {
            Change::Snapshot(lines) => ProfileChange::Snapshot(list(lines)),
            Change::Changed(line) => match *line {
                Line::Problems(problems) => ProfileChange::Problems(problems),
                Line::Profile(profile) => ProfileChange::Changed(profile),
            },
            Change::Removed(LineName::Problems) => ProfileChange::Problems(Vec::new()),
            Change::Removed(LineName::Profile(name)) => ProfileChange::Removed(name),
            Change::Resumed => ProfileChange::Resumed,
        };
        Self { revision, change }
    }
}

/// A stream of [`ProfileNews`] that ends with the engine. The first one is a snapshot, or [`ProfileChange::Resumed`].
pub struct ProfileWatcher(Watcher<Line>);

impl ProfileWatcher {
    pub(super) fn new(lines: Watcher<Line>) -> Self {
        Self(lines)
    }
}

impl fmt::Debug for ProfileWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileWatcher").finish_non_exhaustive()
    }
}

impl Stream for ProfileWatcher {
    type Item = ProfileNews;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ProfileNews>> {
        self.0.poll_next_unpin(cx).map(|news| news.map(Into::into))
    }
}
