//! What a fault is to the daemon, to gRPC and to a shell.

/// Who can end a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The daemon tries again by itself.
    Retry,
    /// A sign-in ends it.
    SignIn,
    /// A person has to change something.
    FixByUser,
}

/// gRPC status codes that faults map to, by their standard names (this crate does not know tonic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcCode {
    /// `INVALID_ARGUMENT`
    InvalidArgument,
    /// `NOT_FOUND`
    NotFound,
    /// `ALREADY_EXISTS`
    AlreadyExists,
    /// `ABORTED`
    Aborted,
    /// `PERMISSION_DENIED`
    PermissionDenied,
    /// `UNAUTHENTICATED`
    Unauthenticated,
    /// `FAILED_PRECONDITION`
    FailedPrecondition,
    /// `RESOURCE_EXHAUSTED`
    ResourceExhausted,
    /// `UNAVAILABLE`
    Unavailable,
    /// `INTERNAL`
    Internal,
}

/// Exit codes of `stctl`; documented, stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// Failed in a way that has no code of its own.
    Failure = 1,
    /// The command line cannot be right.
    Usage = 2,
    /// The tunnel is not up.
    NotUp = 3,
    /// A login is needed.
    LoginNeeded = 4,
    /// The daemon cannot be reached.
    DaemonUnreachable = 5,
    /// No such tunnel, profile or target.
    NotFound = 6,
    /// In conflict with something that exists: name, port, version.
    Conflict = 7,
    /// AWS refused the caller.
    PermissionDenied = 8,
    /// The time allowed ran out.
    Timeout = 124,
    /// Ctrl-C.
    Interrupted = 130,
}
