//! The vocabulary that the daemon, the API and every front end share.
//!
//! Plain data and pure functions: nothing here does I/O, reads a clock, or knows of protobuf or AWS. One word per
//! idea; the words are:
//!
//! | word | type | meaning |
//! |---|---|---|
//! | tunnel | [`TunnelId`], [`TunnelName`], [`TunnelSpec`] | a named forwarding rule; outlives everything |
//! | intent | [`Intent`] | what the user wants; stored |
//! | state | [`TunnelState`] | what is true now; never stored |
//! | target | [`Target`] | the managed node to go through, as the user wrote it |
//! | node | [`ResolvedTarget`] | the managed node that was found for a target |
//! | candidate | [`Candidate`] | one of the nodes that a target stands for |
//! | remote | [`RemoteEndpoint`] | host and port beyond the node |
//! | session | [`SsmSessionId`] | one Session Manager session; a tunnel goes through many |
//! | sign-in | [`SignInName`], [`SignInState`] | an `[sso-session]`, or the start URL of profiles that have theirs inline |
//! | profile | [`Profile`], [`AwsProfile`], [`ProfileState`] | a profile of the AWS files, and whether its credentials are any good |
//! | key store | [`KeyStoreChoice`] | where SSO tokens and client registrations are kept |
//! | principal | [`Principal`] | who AWS takes the caller for that opened a session |
//! | fault | [`Fault`] | a failure that the user may see; it knows its [`Recovery`] |
//! | attempt | [`Attempt`] | generation number; answers to old attempts are dropped |
//! | revision | [`Revision`] | counts the published changes of one daemon life |
//! | label | [`Label`] | `key=value` that a user gave a tunnel |
//! | selector | [`Selector`] | says by labels which tunnels are meant |
//! | terms | [`RunTerms`] | why a tunnel runs and until when; stored with the intent |
//! | event | [`Event`] | something that happened to a tunnel; stored |
//! | statistics | [`Statistics`] | what a tunnel carried and went through, in numbers; stored |

mod codes;
mod endpoint;
mod event;
mod fault;
mod fault_kinds;
mod finding;
#[doc(hidden)]
pub mod fuzz;
mod guards;
mod ids;
mod keep;
mod key_store;
mod label;
mod login;
mod name;
mod profile;
mod prompt;
mod redact;
mod selector;
pub mod settings;
mod sharing;
mod sign_in;
mod sign_in_event;
mod sign_in_state;
mod spec;
mod sso_config;
mod state;
mod statistics;
mod target;
mod tunnel;
mod wording;

pub use codes::{ExitCode, GrpcCode, Recovery};
pub use endpoint::{BoundAddress, LocalAddress, LocalEndpoint, LocalPort, RemoteEndpoint, SocketPath};
pub use event::{Event, EventId, EventKind, EventSubject};
pub use fault::{Fault, FaultKind};
pub use finding::{Finding, Outcome};
pub use guards::{CONFIRM_LABEL, Reason, RunTerms, StartOptions, Ttl, confirm_label};
pub use ids::{Attempt, Epoch, Etag, Principal, RequestId, Revision, SsmSessionId, Timestamp, TunnelId};
pub use keep::{Keep, SessionCount};
pub use key_store::KeyStoreChoice;
pub use label::{Label, Labels};
pub use login::{LoginEnd, LoginFlow, LoginSurroundings, LoginWishes, Opener, SignInChoice};
pub use name::{InvalidName, LabelKey, LabelValue, Profile, Region, TunnelName};
pub use profile::{
    AwsProfile, CheckedProfile, FileProblem, OnDemand, ProfileKind, ProfileList, ProfileRule, ProfileState,
};
pub use prompt::{Prompt, PromptId, PromptKind};
pub use redact::Redactor;
pub use selector::Selector;
pub use sharing::Sharing;
pub use sign_in::{SignIn, SignInForm, SignInName, SignInProfile};
pub use sign_in_event::SignInEvent;
pub use sign_in_state::{
    CannotRenew, LoginPage, LoginProgress, LoginReason, Renewal, RenewalRule, SignInActivity, SignInState,
    SignInStatus,
};
pub use spec::{SpecError, TunnelSpec, TunnelSpecPatch};
pub use sso_config::{
    Account, AccountId, AwsOutput, ConfiguredSection, DEFAULT_SCOPE, RoleName, SectionChange, SsoConfig,
    SsoConfigured, SsoProfile, SsoScope, SsoSection, SsoSession, StartUrl,
};
pub use state::{ConnectStep, Intent, RemoteHealth, TunnelLimit, TunnelState};
pub use statistics::{Statistics, TunnelStatistics};
pub use target::{
    AgentStatus, Candidate, ContainerForm, InstanceForm, NAME_TAG, ResolvedTarget, Target, TargetForm,
    TaskForm,
};
pub use tunnel::{SessionStatus, Traffic, Tunnel, TunnelStatus};
pub use wording::{Subject, quoted};
