//! From keys to credentials, in the order of the AWS CLI: assume role, web identity, SSO, static keys of the credentials
//! file, login session, process, static keys of the config file.

use std::time::Duration;

use secrecy::SecretString;
use stormtunnel_model::Profile as ProfileName;

use super::credentials::{CredentialProcess, Credentials, Role, Source, StaticKeys, WebIdentity};
use super::invalid::{Invalid, InvalidKind};
use super::raw::{Found, Keys, Raw, RawProfile};
use super::sso::Sso;

/// The limits of AssumeRole.
const MIN_DURATION: u64 = 900;
const MAX_DURATION: u64 = 43_200;

pub(crate) struct Resolver<'a> {
    pub(crate) raw: &'a Raw,
    pub(crate) sso: &'a Sso<'a>,
}

/// What a role is assumed with.
enum RoleSource<'a> {
    Named(Source),
    Profile(Found<'a>),
}

impl Resolver<'_> {
    /// The credentials of a profile. A chain of roles is followed to its end.
    pub(crate) fn credentials(
        &self,
        name: &ProfileName,
        profile: &RawProfile,
    ) -> Result<Credentials, Invalid> {
        let mut chain = vec![name.as_str()];
        let mut roles = Vec::new();
        let mut holder = name.clone();
        let mut current = profile;
        loop {
            // In a chain a profile with keys of its own lends those, even if it names a role as well.
            if !assumes_role(current) || (!roles.is_empty() && has_keys(current)) {
                let source = self.direct(current)?;
                return self.finish(holder, source, roles, &chain, profile);
            }
            roles.push(role(&holder, current)?);
            let found = match role_source(current)? {
                RoleSource::Named(source) => {
                    return self.finish(holder, Some(source), roles, &chain, profile);
                }
                RoleSource::Profile(found) => found,
            };
            let unknown = || InvalidKind::Unknown { section: format!("profile {}", found.text) };
            let (next, profile_next) =
                self.raw.profiles.get_key_value(found.text).ok_or_else(|| found.invalid(unknown()))?;
            if chain.contains(&next.as_str()) {
                if next != holder.as_str() || !has_keys(current) {
                    return Err(found.invalid(circle(&chain, next)));
                }
                // Its own keys, for its own role.
                let source = self.direct(current)?;
                return self.finish(holder, source, roles, &chain, profile);
            }
            holder = found.text.parse().map_err(|_| found.malformed("no profile can have that name"))?;
            chain.push(next);
            current = profile_next;
        }
    }

    /// Only a profile that assumes no role may have nothing of its own.
    fn finish(
        &self,
        holder: ProfileName,
        source: Option<Source>,
        mut roles: Vec<Role>,
        chain: &[&str],
        profile: &RawProfile,
    ) -> Result<Credentials, Invalid> {
        roles.reverse();
        let source = match source {
            Some(source) => source,
            None if roles.is_empty() => Source::Ambient,
            None => {
                let naming = chain.iter().rev().nth(1).and_then(|name| self.raw.profiles.get(*name));
                let kind = InvalidKind::NoCredentials { profile: holder.to_string() };
                let found = naming.unwrap_or(profile).required("source_profile")?;
                return Err(found.invalid(kind));
            }
        };
        Ok(Credentials { holder, source, roles })
    }

    /// What a profile has without assuming its role.
    fn direct(&self, profile: &RawProfile) -> Result<Option<Source>, Invalid> {
        if let Some(web_identity) = web_identity(profile)? {
            return Ok(Some(Source::WebIdentity(web_identity)));
        }
        if let Some(role) = self.sso.role(profile)? {
            return Ok(Some(Source::Sso(role)));
        }
        if let Some(keys) = static_keys(profile.credentials.as_ref())? {
            return Ok(Some(Source::Static(keys)));
        }
        if let Some(session) = profile.optional("login_session")? {
            let session =
                session.checked("it is the ARN of who is signed in", |text| text.starts_with("arn:"))?;
            return Ok(Some(Source::LoginSession(session.text.to_owned())));
        }
        if let Some(command) = profile.optional("credential_process")? {
            let rule = "its quotes do not match";
            let process = CredentialProcess::new(command.text).ok_or_else(|| command.malformed(rule))?;
            return Ok(Some(Source::Process(process)));
        }
        Ok(static_keys(profile.config.as_ref())?.map(Source::Static))
    }
}

fn assumes_role(profile: &RawProfile) -> bool {
    profile.has("role_arn") && !profile.has("web_identity_token_file")
}

fn has_keys(profile: &RawProfile) -> bool {
    profile.has("aws_access_key_id") || profile.has("aws_secret_access_key")
}

fn circle(chain: &[&str], back_to: &str) -> InvalidKind {
    let begin = chain.iter().position(|name| *name == back_to).unwrap_or_default();
    let profiles = chain[begin..].iter().copied().chain([back_to]);
    InvalidKind::Circle { profiles: profiles.map(str::to_owned).collect() }
}

fn role(profile: &ProfileName, keys: &RawProfile) -> Result<Role, Invalid> {
    let text = |found: Found<'_>| found.text.to_owned();
    let external_id = keys.optional("external_id")?;
    let external_id = external_id
        .map(|found| found.checked("it has 2 to 1224 characters", |text| (2..=1224).contains(&text.len())));
    Ok(Role {
        profile: profile.clone(),
        arn: text(role_arn(keys)?),
        external_id: external_id.transpose()?.map(text),
        mfa_serial: keys.optional("mfa_serial")?.map(text),
        session_name: session_name(keys)?,
        duration: duration(keys)?,
    })
}

fn role_arn(keys: &RawProfile) -> Result<Found<'_>, Invalid> {
    const RULE: &str = "it looks like arn:aws:iam::111111111111:role/NAME";
    keys.required("role_arn")?.checked(RULE, |text| text.starts_with("arn:") && text.contains(":role/"))
}

fn session_name(keys: &RawProfile) -> Result<Option<String>, Invalid> {
    const RULE: &str = "it has 2 to 64 letters, digits and characters of \"_+=,.@-\"";
    let valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let right = |text: &str| (2..=64).contains(&text.len()) && text.chars().all(valid);
    let name = keys.optional("role_session_name")?.map(|found| found.checked(RULE, right)).transpose()?;
    Ok(name.map(|found| found.text.to_owned()))
}

/// What is no number is no duration, as to the AWS CLI; it is reported elsewhere.
fn duration(keys: &RawProfile) -> Result<Option<Duration>, Invalid> {
    let Some(found) = keys.found("duration_seconds") else { return Ok(None) };
    match found.text.parse::<u64>() {
        Ok(seconds) if (MIN_DURATION..=MAX_DURATION).contains(&seconds) => {
            Ok(Some(Duration::from_secs(seconds)))
        }
        Ok(_) => Err(found.malformed("AWS takes 900 to 43200 seconds")),
        Err(_) => Ok(None),
    }
}

fn role_source(keys: &RawProfile) -> Result<RoleSource<'_>, Invalid> {
    match (keys.optional("credential_source")?, keys.optional("source_profile")?) {
        (Some(named), Some(_)) => Err(named.invalid(InvalidKind::TwoSources)),
        (None, None) => Err(keys.missing("source_profile")),
        (None, Some(profile)) => Ok(RoleSource::Profile(profile)),
        (Some(named), None) => match named.text {
            "Environment" => Ok(RoleSource::Named(Source::Environment)),
            "EcsContainer" => Ok(RoleSource::Named(Source::EcsContainer)),
            "Ec2InstanceMetadata" => Ok(RoleSource::Named(Source::Ec2Metadata)),
            _ => Err(named.invalid(InvalidKind::UnknownSource { name: named.text.to_owned() })),
        },
    }
}

/// An empty `web_identity_token_file` is none, as to the AWS CLI.
fn web_identity(profile: &RawProfile) -> Result<Option<WebIdentity>, Invalid> {
    let file =
        profile.found("web_identity_token_file").map(|found| found.text).filter(|text| !text.is_empty());
    let Some(file) = file else { return Ok(None) };
    Ok(Some(WebIdentity {
        token_file: file.to_owned(),
        role_arn: role_arn(profile)?.text.to_owned(),
        session_name: session_name(profile)?,
    }))
}

/// The keys in one of the files: half of them in each are none.
fn static_keys(keys: Option<&Keys>) -> Result<Option<StaticKeys>, Invalid> {
    let Some(keys) = keys.filter(|keys| keys.has("aws_access_key_id")) else { return Ok(None) };
    // The older name of the token comes first, as in the AWS CLI.
    let token = keys.found("aws_security_token").or_else(|| keys.found("aws_session_token"));
    Ok(Some(StaticKeys {
        access_key_id: keys.required("aws_access_key_id")?.text.to_owned(),
        secret_access_key: SecretString::from(keys.required("aws_secret_access_key")?.text),
        session_token: token
            .filter(|found| !found.text.is_empty())
            .map(|found| SecretString::from(found.text)),
    }))
}
