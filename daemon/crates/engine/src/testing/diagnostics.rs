//! Surroundings without a fault.

use stormtunnel_model::{Fault, Profile, SignIn, Target, Timestamp};

use crate::doctor::{Desktop, Diagnostics, Files, OpenPath, Place, ProxySeen, Visit};
use crate::ports::{AwsScope, PortFuture};

fn place(service: &str) -> Place {
    let (name, url) = (format!("{service} eu-west-1"), format!("https://{service}.example"));
    Place { name, url, trusted_by: None }
}

/// A machine on which nothing is wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoundMachine;

impl Diagnostics for SoundMachine {
    fn open_paths(&self, _files: Files, _close: bool) -> PortFuture<'_, Vec<OpenPath>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn lasting_keys(&self) -> Vec<Profile> {
        Vec::new()
    }

    fn proxy(&self) -> PortFuture<'_, Result<Option<ProxySeen>, Fault>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn authorities(&self) -> PortFuture<'_, Vec<Fault>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn has_default(&self) -> bool {
        true
    }

    fn places<'a>(
        &'a self,
        _scope: &'a AwsScope,
        _targets: &'a [Target],
    ) -> PortFuture<'a, Result<Vec<Place>, Fault>> {
        Box::pin(std::future::ready(Ok(vec![place("ssm")])))
    }

    fn places_of_sign_in<'a>(&'a self, _sign_in: &'a SignIn) -> PortFuture<'a, Result<Vec<Place>, Fault>> {
        Box::pin(std::future::ready(Ok(vec![place("oidc")])))
    }

    fn visit<'a>(&'a self, place: &'a Place) -> PortFuture<'a, Visit> {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let visit = Visit { place: place.clone(), resolved: Some(Ok(())), answer: Ok(Some(at)), at };
        Box::pin(std::future::ready(visit))
    }

    fn browser(&self) -> Desktop {
        Desktop::Found("/usr/bin/xdg-open".to_owned())
    }

    fn notifications(&self) -> PortFuture<'_, Desktop> {
        Box::pin(std::future::ready(Desktop::Found("a program shows them".to_owned())))
    }

    fn key_store(&self) -> PortFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn log(&self, lines: usize) -> PortFuture<'_, Result<Vec<String>, Fault>> {
        let log = ["one", "two", "three"].map(str::to_owned);
        Box::pin(std::future::ready(Ok(log[log.len().saturating_sub(lines)..].to_vec())))
    }
}
