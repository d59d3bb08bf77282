//! SHA-256, once for every message in either direction: most of the processor time of a session.

/// The digest of a payload.
#[cfg(not(feature = "aws-lc"))]
pub(crate) fn sha256(payload: &[u8]) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};

    Sha256::digest(payload).into()
}

/// The digest of a payload, with the processor's own instructions where it has them.
#[cfg(feature = "aws-lc")]
pub(crate) fn sha256(payload: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload).as_ref());
    digest
}

#[cfg(test)]
mod tests {
    #[test]
    fn digest_of_abc_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(super::sha256(b"abc")), expected);
    }
}
