//! What the calls take and give, in the words of the model.

use std::fmt;

use stormtunnel_model::{
    AwsProfile, Candidate, Epoch, Etag, Event, EventId, Fault, FileProblem, LoginFlow, LoginProgress,
    LoginSurroundings, LoginWishes, Profile, ProfileList, Prompt, PromptId, Region, RequestId, Revision,
    SignIn, SignInChoice, SignInName, StartOptions, Target, Timestamp, Tunnel, TunnelId, TunnelName,
    TunnelSpec, TunnelSpecPatch,
};

/// Makes a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTunnel {
    /// Makes a repeat give the tunnel made then; absent: a repeat is a new wish.
    pub request_id: Option<RequestId>,
    /// What the tunnel is to be.
    pub spec: TunnelSpec,
    /// Start it at once.
    pub start: bool,
}

/// Changes a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateTunnel {
    /// Name or id.
    pub tunnel: String,
    /// The change.
    pub patch: TunnelSpecPatch,
    /// Change only if the tunnel still has this etag.
    pub etag: Option<Etag>,
    /// Only tell what the change would do.
    pub validate_only: bool,
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedTunnel {
    /// The tunnel after the change.
    pub tunnel: Tunnel,
    /// The session ends and a new one is started.
    pub reconnects: bool,
    /// The listener is closed and bound anew.
    pub rebinds: bool,
}

/// Starts or restarts tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartTunnels {
    /// Names or ids.
    pub tunnels: Vec<String>,
    /// What goes with it.
    pub options: StartOptions,
}

/// What became of one of several tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelOutcome {
    /// As the request named it.
    pub requested: String,
    /// The tunnel after the call, or why nothing was done to it.
    pub outcome: Result<Tunnel, Fault>,
}

/// Some of the tunnels, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelPage {
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// Asks for the next page; absent on the last one.
    pub next_page_token: Option<String>,
}

/// Which tunnels to watch, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchTunnels {
    /// The last revision seen; absent asks for a snapshot.
    pub since: Option<Revision>,
    /// Names or ids; empty means all, also those made later.
    pub tunnels: Vec<String>,
}

/// One message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchUpdate {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What happened.
    pub event: WatchEvent,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Replaces all that the watcher knows.
    Snapshot(Vec<Tunnel>),
    /// One tunnel is new or different.
    Changed(Box<Tunnel>),
    /// One tunnel is gone.
    Deleted {
        /// Its id.
        id: TunnelId,
        /// Its last name.
        name: TunnelName,
    },
    /// The watch goes on where it was: changes follow.
    Resumed,
}

/// Which events to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEvents {
    /// Names or ids, also of tunnels that are gone; empty means all. The daemon's own events are always among them.
    pub tunnels: Vec<String>,
    /// No older ones.
    pub since: Option<Timestamp>,
    /// At most this many, the newest; 0 leaves it to the daemon.
    pub limit: u32,
    /// Only events with smaller ids.
    pub before: Option<EventId>,
}

/// Which events to watch, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchEvents {
    /// Names or ids, also of tunnels that are gone; empty means all. The daemon's own events are always among them.
    pub tunnels: Vec<String>,
    /// What comes after this event is wanted; absent asks for a snapshot.
    pub after: Option<EventId>,
    /// Of the snapshot: no older events.
    pub since: Option<Timestamp>,
    /// Of the snapshot: at most this many; 0 leaves it to the daemon.
    pub limit: u32,
}

/// One message of a watch of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWatchUpdate {
    /// Everything up to this event has been told: what to resume after.
    pub last: EventId,
    /// What it brings.
    pub update: EventUpdate,
}

/// What a watch of events tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventUpdate {
    /// Replaces all that the watcher knows: the newest events, oldest first.
    Snapshot(Vec<Event>),
    /// Something happened.
    Recorded(Box<Event>),
    /// The watch goes on where it was: events follow.
    Resumed,
}

/// Which targets to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTargets {
    /// Whose credentials; absent means the daemon's default profile.
    pub profile: Option<Profile>,
    /// Where; absent means the profile's region.
    pub region: Option<Region>,
    /// Only what this one stands for.
    pub target: Option<Target>,
}

/// The nodes that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetList {
    /// The region that was searched.
    pub region: Region,
    /// What was found there.
    pub candidates: Vec<Candidate>,
    /// What the answer lacks and why, one sentence each.
    pub notes: Vec<String>,
}

/// Has a person sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// To what.
    pub sign_in: SignInChoice,
    /// What the person asked for.
    pub wishes: LoginWishes,
    /// Where the person sits.
    pub surroundings: LoginSurroundings,
    /// Only if nothing else helps: a token that is good, or can be renewed, is left alone.
    pub if_needed: bool,
}

/// What somebody who waits for a login is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginUpdate {
    /// Which way it goes. Comes first.
    Begun {
        /// The sign-in.
        sign_in: SignInName,
        /// The way.
        flow: LoginFlow,
        /// Why, as a sentence part.
        reason: String,
    },
    /// How far it is.
    Progress(LoginProgress),
    /// Somebody is signed in. Comes last.
    SignedIn(Box<SignIn>),
}

/// Signs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logout {
    /// Of everything.
    All,
    /// Of this.
    One(SignInChoice),
}

/// One message of a watch of sign-ins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInWatchUpdate {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What happened.
    pub event: SignInWatchEvent,
}

/// What a watch of sign-ins tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInWatchEvent {
    /// Replaces all that the watcher knows.
    Snapshot(Vec<SignIn>),
    /// One sign-in is new or different.
    Changed(Box<SignIn>),
    /// One sign-in is gone.
    Removed(SignInName),
    /// The watch goes on where it was: changes follow.
    Resumed,
}

/// One message of a watch of profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileWatchUpdate {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What happened.
    pub event: ProfileWatchEvent,
}

/// What a watch of profiles tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileWatchEvent {
    /// Replaces all that the watcher knows.
    Snapshot(ProfileList),
    /// One profile is new or different.
    Changed(Box<AwsProfile>),
    /// One profile is gone.
    Removed(Profile),
    /// All that is wrong in the files now.
    Problems(Vec<FileProblem>),
    /// The watch goes on where it was: changes follow.
    Resumed,
}

/// What a watch of prompts tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptEvent {
    /// The first message: what is open.
    Snapshot(Vec<Prompt>),
    /// One more is open.
    Opened(Prompt),
    /// One is answered, or nobody waits for it any more.
    Closed(PromptId),
}

/// What the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonInfo {
    /// Of the product.
    pub version: String,
    /// Of the API it speaks.
    pub api_level: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// The epoch of its revisions.
    pub epoch: Epoch,
    /// Its process.
    pub pid: u32,
    /// Its log file; absent when it logs to standard error.
    pub log_path: Option<String>,
    /// Directory of its database.
    pub state_directory: String,
    /// Troubles of the daemon itself, each in one sentence.
    pub warnings: Vec<String>,
    /// What the build says of itself, such as the commit and its date.
    pub build: Option<String>,
    /// Path of its program, as it was started; absent where it does not tell.
    pub program: Option<String>,
    /// Another file is at that path since it was started, or none.
    pub program_replaced: bool,
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingState {
    /// Such as `tunnels.connect_timeout`.
    pub key: String,
    /// In force now.
    pub value: String,
    /// What holds when the file says nothing.
    pub default_value: String,
    /// What is accepted, in words.
    pub range: String,
    /// What it is for.
    pub meaning: String,
    /// The file sets it.
    pub is_set: bool,
}

/// The settings and their file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsState {
    /// The settings asked for.
    pub settings: Vec<SettingState>,
    /// The settings file.
    pub path: String,
    /// What is wrong with the file as it is; the last good values are in force meanwhile.
    pub problem: Option<String>,
}

/// One change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The setting.
    pub key: String,
    /// New value; absent takes the setting out of the file.
    pub value: Option<String>,
}

/// Where the settings file is, for an editor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFile {
    /// The settings file, which need not be there.
    pub path: String,
    /// Stands for what it says.
    pub etag: String,
    /// What a new file may begin with.
    pub template: String,
}

/// What became of another text for the settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacedSettings {
    /// It is in the file, and in force; these settings are not as they were.
    Written(Vec<SettingState>),
    /// The file is as it was, because of these.
    Refused(Vec<SettingsProblem>),
    /// Somebody else has changed the file since it was read, and it stays so.
    ChangedMeanwhile,
}

/// Something that is wrong in a text of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Line and column, from 1; absent where the whole text is meant.
    pub at: Option<(u32, u32)>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl SettingsProblem {
    /// The problem with the file's name in front, as compilers write it.
    pub fn in_file(&self, file: &str) -> String {
        match self.at {
            Some((line, column)) => format!("{file}:{line}:{column}: {}", self.message),
            None => format!("{file}: {}", self.message),
        }
    }
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}", self.key),
            None => write!(f, "{} unset", self.key),
        }
    }
}
