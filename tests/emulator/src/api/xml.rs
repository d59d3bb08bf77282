//! The Query protocol: parameters in, XML out.

use std::collections::BTreeMap;

use url::form_urlencoded;

pub(super) const CONTENT_TYPE: &str = "text/xml;charset=UTF-8";

pub(super) type Parameters = BTreeMap<String, String>;

pub(super) fn parameters(body: &[u8]) -> Parameters {
    form_urlencoded::parse(body).into_owned().collect()
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
