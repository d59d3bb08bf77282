use super::*;

fn file(name: &str, text: &str) -> ProfileFile {
    ProfileFile::new(name, text.as_bytes().to_vec())
}

fn wanted(profiles: &[(&str, &str)]) -> SsoConfig {
    let profile = |(name, role): &(&str, &str)| SsoProfile {
        name: name.parse().unwrap(),
        account: "111122223333".parse().unwrap(),
        role: role.parse().unwrap(),
        region: Some("eu-west-1".parse().unwrap()),
        output: Some("json".parse().unwrap()),
    };
    let session = SsoSession {
        name: "corp".parse().unwrap(),
        start_url: "https://x.awsapps.com/start".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        scopes: vec!["sso:account:access".parse().unwrap()],
    };
    SsoConfig { session, profiles: profiles.iter().map(profile).collect(), overwrite: false }
}

const SESSION: &str = "[sso-session corp]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n\
                       sso_registration_scopes = sso:account:access\n";
const PROFILE: &str = "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Dev\n\
                       region = eu-west-1\noutput = json\n";

fn written(config: &str, wanted: &SsoConfig) -> Result<(String, Vec<SectionChange>), ConfigureError> {
    let found = configure(&file("config", config), &file("credentials", ""), wanted)?;
    let changes = found.sections.iter().map(|one| one.change).collect();
    Ok((String::from_utf8(found.content).unwrap(), changes))
}

fn refused(config: &str, wanted: &SsoConfig) -> String {
    written(config, wanted).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gets_all_of_it_in_the_order_of_the_aws_cli() {
    let (text, changes) = written("", &wanted(&[("dev", "Dev")])).unwrap();
    assert_eq!(text, format!("{SESSION}\n{PROFILE}"));
    assert_eq!(changes, [SectionChange::Added, SectionChange::Added]);
    let again = written(&text, &wanted(&[("dev", "Dev")])).unwrap();
    assert_eq!(again, (text, vec![SectionChange::Unchanged; 2]), "nothing is left to do");
}

#[test]
fn comments_and_mistakes_and_what_was_not_asked_for_stay() {
    let before = "# mine\r\n[profile other] ; keep\r\nregion = x # y\r\nnonsense\r\n\r\n[default]\r\n# the default\r\n\
                  output = json\r\ns3 =\r\n  max_queue_size = 1\r\n";
    let (text, changes) = written(before, &wanted(&[("default", "Dev")])).unwrap();
    assert_eq!(changes, [SectionChange::Added, SectionChange::Changed]);
    let lines =
        ["sso_session = corp", "sso_account_id = 111122223333", "sso_role_name = Dev", "region = eu-west-1"];
    let after = format!("{before}{}\r\n\r\n{}", lines.join("\r\n"), SESSION.replace('\n', "\r\n"));
    assert_eq!(text, after);
}

#[test]
fn names_that_need_quotes_get_them() {
    let mut wanted = wanted(&[("my dev", "Dev")]);
    wanted.session.name = "my corp".parse().unwrap();
    let (text, _) = written("", &wanted).unwrap();
    assert!(text.contains("[sso-session 'my corp']\n") && text.contains("[profile 'my dev']\n"), "{text}");
    assert!(text.contains("sso_session = my corp\n"), "{text}");
}

#[test]
fn what_is_not_asked_for_is_left_as_it_is() {
    let mut less = wanted(&[("dev", "Dev")]);
    less.session.scopes.clear();
    (less.profiles[0].region, less.profiles[0].output) = (None, None);
    let before = format!("{SESSION}\n{}", PROFILE.replace("eu-west-1", "us-west-2"));
    assert_eq!(written(&before, &less).unwrap(), (before, vec![SectionChange::Unchanged; 2]));
}

#[test]
fn scopes_are_a_list_whatever_their_blanks() {
    let mut two = wanted(&[]);
    two.session.scopes.push("sso:other".parse().unwrap());
    let before = SESSION.replace("sso:account:access", "sso:account:access , sso:other,");
    assert_eq!(written(&before, &two).unwrap(), (before, vec![SectionChange::Unchanged]));
    let fewer = refused(&SESSION.replace("sso:account:access", "x"), &wanted(&[]));
    assert_eq!(fewer, "sso_registration_scopes is \"x\", not \"sso:account:access\"");
}

#[test]
fn what_says_something_else_is_not_touched_unless_that_is_wanted() {
    let before = format!(
        "{}\n[profile dev]\nsso_session = corp\nsso_role_name = Admin # mine\naws_secret_access_key = hush\n\
         # stays\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = y\n",
        SESSION.replace("us-east-1", "us-west-2")
    );
    let mut wanted = wanted(&[("dev", "Dev"), ("new", "Dev")]);
    let why = refused(&before, &wanted);
    assert_eq!(
        why,
        "[sso-session corp]: sso_region is \"us-west-2\", not \"us-east-1\"; \
         [profile dev]: sso_role_name is \"Admin # mine\", not \"Dev\", it has role_arn, it has source_profile, \
         it has aws_secret_access_key"
    );
    wanted.overwrite = true;
    let (text, changes) = written(&before, &wanted).unwrap();
    assert_eq!(changes, [SectionChange::Changed, SectionChange::Changed, SectionChange::Added]);
    let dev = "[profile dev]\nsso_session = corp\nsso_role_name = Dev\n# stays\nsso_account_id = 111122223333\n\
               region = eu-west-1\noutput = json\n";
    assert!(text.starts_with(&format!("{SESSION}\n{dev}")), "{text}");
}

#[test]
fn a_profile_with_its_start_url_inline_moves_to_the_session() {
    let before = "[profile dev]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n\
                  sso_account_id = 111122223333\nsso_role_name = Dev\n";
    let mut wanted = wanted(&[("dev", "Dev")]);
    assert_eq!(refused(before, &wanted), "it has sso_start_url, it has sso_region");
    wanted.overwrite = true;
    let (text, _) = written(before, &wanted).unwrap();
    let profile = text.split("[sso-session").next().unwrap();
    assert!(!profile.contains("sso_start_url") && profile.contains("sso_session = corp\n"), "{text}");
}

#[test]
fn a_name_that_has_keys_in_the_other_file_is_refused_even_to_overwrite() {
    let mut wanted = wanted(&[("dev", "Dev")]);
    wanted.overwrite = true;
    let refused = |keys: &str| {
        configure(&file("config", ""), &file("credentials", keys), &wanted)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let why = refused("[dev]\naws_access_key_id = AKIA\naws_secret_access_key = hush\n").unwrap_err();
    assert!(why.starts_with("credentials has keys for it") && !why.contains("hush"), "{why}");
    assert_eq!(refused("[dev]\nregion = eu-west-1\n[other]\naws_access_key_id = AKIA\n"), Ok(()));
}

#[test]
fn what_would_be_read_as_something_else_is_not_written() {
    let mut url = wanted(&[]);
    url.session.name = "https://x.awsapps.com/start".parse().unwrap();
    assert!(refused("", &url).contains("it is an address"));
    let by_default = "[DEFAULT]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = y\n";
    let why = refused(by_default, &wanted(&[("dev", "Dev")]));
    assert!(why.starts_with("[profile dev] would not be read as it is written"), "{why}");
    let half = "[sso-session corp]\nsso_region = us-east-1\n";
    let (text, changes) = written(half, &wanted(&[])).unwrap();
    assert!(text.contains("sso_start_url = https://x.awsapps.com/start\n"), "{text}");
    assert_eq!(changes, [SectionChange::Changed], "what is missing is no other value");
}
