//! Codes of MFA devices, asked of whoever sits at a front end.

use secrecy::SecretString;
use stormtunnel_aws::AskCode;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::prompts::{CodeQuestion, Prompts};
use stormtunnel_model::Fault;

/// The persons at the front ends.
#[derive(Clone, Debug)]
pub struct Persons(pub Prompts);

impl AskCode for Persons {
    fn code<'a>(&'a self, question: CodeQuestion<'a>) -> PortFuture<'a, Result<SecretString, Fault>> {
        Box::pin(self.0.ask_code(question))
    }
}
