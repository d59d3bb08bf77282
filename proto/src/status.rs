//! Faults as gRPC statuses and back.
//!
//! The code comes from the fault table of the model, the message is the fault in words, and the details hold the typed
//! fault in the encoding that every gRPC library reads: a `google.rpc.Status` with one `Any`.

use prost::Message;
use stormtunnel_model::{Fault, GrpcCode};
use tonic::{Code, Status};

use crate::conversions::ConversionError;
use crate::v1;

/// Type of the detail that holds the fault.
pub const FAULT_TYPE_URL: &str = "type.googleapis.com/stormtunnel.v1.Fault";

/// Longest detail that travels, in bytes. Status details go into HTTP/2 trailers, twice (message and details), and
/// gRPC libraries refuse more than 8 KiB of them.
const MAX_DETAIL: usize = 1024;

/// `google.rpc.Status`, which gRPC libraries expect in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The status of a call that failed with `fault`.
pub fn from_fault(mut fault: Fault) -> Status {
    truncate(&mut fault.detail);
    let code = grpc_code(fault.kind.grpc_code());
    let message = fault.to_string();
    let value = v1::Fault::from(fault).encode_to_vec();
    let details = vec![prost_types::Any { type_url: FAULT_TYPE_URL.to_owned(), value }];
    let encoded = RpcStatus { code: code.into(), message: message.clone(), details }.encode_to_vec();
    Status::with_details(code, message, encoded.into())
}

/// The fault in the details of a status, if it holds one that can be read.
pub fn to_fault(status: &Status) -> Option<Fault> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let detail = details.into_iter().find(|detail| detail.type_url == FAULT_TYPE_URL)?;
    v1::Fault::decode(detail.value.as_slice()).ok()?.try_into().ok()
}

impl From<ConversionError> for Status {
    /// A request that cannot be parsed is an invalid argument.
    fn from(error: ConversionError) -> Self {
        from_fault(error.into())
    }
}

fn truncate(detail: &mut String) {
    if detail.len() > MAX_DETAIL {
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        detail.push('…');
    }
}

fn grpc_code(code: GrpcCode) -> Code {
    match code {
        GrpcCode::InvalidArgument => Code::InvalidArgument,
        GrpcCode::NotFound => Code::NotFound,
        GrpcCode::AlreadyExists => Code::AlreadyExists,
        GrpcCode::Aborted => Code::Aborted,
        GrpcCode::PermissionDenied => Code::PermissionDenied,
        GrpcCode::Unauthenticated => Code::Unauthenticated,
        GrpcCode::FailedPrecondition => Code::FailedPrecondition,
        GrpcCode::ResourceExhausted => Code::ResourceExhausted,
        GrpcCode::Unavailable => Code::Unavailable,
        GrpcCode::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::FaultKind;

    use super::*;

    #[test]
    fn every_kind_survives_the_status() {
        for kind in FaultKind::one_of_each() {
            let fault = Fault::new(kind, "ümläut, \"quotes\"\nand a second line");
            let status = from_fault(fault.clone());
            assert_eq!(status.code(), grpc_code(fault.kind.grpc_code()));
            assert_eq!(status.message(), fault.to_string());
            assert_eq!(to_fault(&status), Some(fault));
        }
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let status = from_fault(Fault::internal("é".repeat(5000)));
        let detail = to_fault(&status).unwrap().detail;
        assert!(detail.len() <= MAX_DETAIL + '…'.len_utf8() && detail.ends_with("é…"), "{}", detail.len());
    }

    #[test]
    fn a_status_of_somebody_else_holds_no_fault() {
        assert_eq!(to_fault(&Status::unavailable("gone")), None);
        assert_eq!(to_fault(&Status::with_details(Code::Internal, "x", b"\xff\xff".as_slice().into())), None);
    }
}
