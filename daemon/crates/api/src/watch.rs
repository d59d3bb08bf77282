//! How watches end.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use stormtunnel_model::{Fault, FaultKind};
use stormtunnel_proto::status::from_fault;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// The messages of a call that answers with a stream.
pub(crate) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The messages until no more calls are to be taken, and that as their reason: a watch that only ends looks finished to a
/// client; one that ends with a reason can be taken up again.
pub(crate) fn watch<T: Send + 'static>(
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: CancellationToken,
) -> Messages<T> {
    let until = messages.take_until(stop.cancelled_owned());
    Box::pin(until.chain(stream::once(async { Err(stopping()) })))
}

/// No more calls are taken.
pub(crate) fn stopping() -> Status {
    from_fault(Fault::new(FaultKind::ShuttingDown, ""))
}
