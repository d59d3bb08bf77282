//! What every call of sign-in, the token service and the metadata services goes through: it is counted, and what was
//! ordered to go wrong with it does.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::counters::Counter;
use crate::world::{World, take_one};

/// A call that is counted and that can go wrong on order. CreateToken is three operations, by what is given for the
/// token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST /client/register`.
    RegisterClient,
    /// `POST /device_authorization`.
    StartDeviceAuthorization,
    /// `GET /authorize`: a browser was opened.
    Authorize,
    /// `GET /device`: a browser was opened.
    VerifyDevice,
    /// `POST /token` with a device code.
    CreateTokenByDevice,
    /// `POST /token` with an authorization code.
    CreateTokenByCode,
    /// `POST /token` with a refresh token.
    RefreshToken,
    /// `GET /federation/credentials`.
    GetRoleCredentials,
    /// `GET /assignment/accounts`.
    ListAccounts,
    /// `GET /assignment/roles`.
    ListAccountRoles,
    /// `POST /logout`.
    Logout,
    /// `sts:AssumeRole`.
    AssumeRole,
    /// `sts:AssumeRoleWithWebIdentity`.
    AssumeRoleWithWebIdentity,
    /// `sts:GetCallerIdentity`.
    GetCallerIdentity,
    /// Session tokens of the instance metadata service.
    MetadataToken,
    /// Everything else of the instance metadata service.
    Metadata,
    /// Credentials of a container.
    ContainerCredentials,
}

impl Operation {
    fn counter(self) -> Counter {
        match self {
            Self::RegisterClient => Counter::OidcRegisterClient,
            Self::StartDeviceAuthorization => Counter::OidcStartDeviceAuthorization,
            Self::Authorize => Counter::OidcAuthorize,
            Self::VerifyDevice => Counter::OidcVerifyDevice,
            Self::CreateTokenByDevice => Counter::OidcCreateTokenByDevice,
            Self::CreateTokenByCode => Counter::OidcCreateTokenByCode,
            Self::RefreshToken => Counter::OidcRefreshToken,
            Self::GetRoleCredentials => Counter::PortalGetRoleCredentials,
            Self::ListAccounts => Counter::PortalListAccounts,
            Self::ListAccountRoles => Counter::PortalListAccountRoles,
            Self::Logout => Counter::PortalLogout,
            Self::AssumeRole => Counter::ApiAssumeRole,
            Self::AssumeRoleWithWebIdentity => Counter::ApiAssumeRoleWithWebIdentity,
            Self::GetCallerIdentity => Counter::ApiGetCallerIdentity,
            Self::MetadataToken => Counter::MetadataTokens,
            Self::Metadata => Counter::MetadataCalls,
            Self::ContainerCredentials => Counter::ContainerCredentials,
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// It is refused, in the form in which the service refuses.
    Error {
        /// HTTP status.
        status: u16,
        /// The exception, as `InvalidGrantException`.
        code: String,
    },
    /// It is carried out later.
    Delay {
        /// How much later.
        ms: u64,
    },
    /// The connection closes; nothing was done.
    Drop,
    /// The connection closes after everything was done: a refresh token is used up, and nobody has the new one.
    LoseAnswer,
}

/// The orders that wait for their calls, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Vec<(Operation, Trouble, u32)>>);

impl Troubles {
    pub(crate) fn order(&self, operation: Operation, trouble: Trouble, count: u32) {
        self.orders().push((operation, trouble, count));
    }

    pub(crate) fn calm(&self) {
        self.orders().clear();
    }

    fn next(&self, operation: Operation) -> Option<Trouble> {
        let mut orders = self.orders();
        orders.retain(|(_, _, count)| *count > 0);
        let (_, trouble, count) = orders.iter_mut().find(|(of, _, _)| *of == operation)?;
        take_one(count).then(|| trouble.clone())
    }

    fn orders(&self) -> MutexGuard<'_, Vec<(Operation, Trouble, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is refused; each service has a form of its own for it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Cow::Borrowed(code), message: message.into() }
    }

    fn ordered(status: u16, code: String) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code: Cow::Owned(code), message: "refused on order".to_owned() }
    }
}

/// Carries one call out, as far as no order is in the way.
pub(crate) async fn meet(
    world: &World,
    operation: Operation,
    form: fn(&Refusal) -> Response<Body>,
    work: impl Future<Output = Result<Response<Body>, Refusal>>,
) -> Response<Body> {
    world.counters.increment(operation.counter());
    let trouble = world.troubles.next(operation);
    if trouble.is_some() {
        world.counters.increment(Counter::InjectedTroubles);
    }
    let answer = match trouble {
        None => work.await,
        Some(Trouble::Error { status, code }) => Err(Refusal::ordered(status, code)),
        Some(Trouble::Delay { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            work.await
        }
        Some(Trouble::Drop) => return closed(),
        Some(Trouble::LoseAnswer) => {
            drop(work.await);
            return closed();
        }
    };
    answer.unwrap_or_else(|refusal| {
        tracing::info!(?operation, code = %refusal.code, message = refusal.message, "call refused");
        form(&refusal)
    })
}

/// An answer that fails before its first byte: the connection closes.
fn closed() -> Response<Body> {
    let failure = io::Error::from(io::ErrorKind::ConnectionAborted);
    Response::new(Body::from_stream(stream::iter([Err::<Bytes, _>(failure)])))
}

/// An answer with the header that every service adds.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    with_header(response, "x-amzn-requestid", &Uuid::new_v4().to_string())
}

/// The same answer with a header; a value that no header can have is left out.
pub(crate) fn with_header(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
