//! A login for the person who signs in, while it runs.

use stormtunnel_model::{LoginFlow, LoginPage, LoginProgress, LoginWishes, Opener};
use stormtunnel_proto::calls::LoginUpdate;

use super::sign_ins::signed_in;

/// What a person was told of one login so far.
#[derive(Debug)]
pub struct Telling {
    wishes: LoginWishes,
    /// The address that stands on the screen.
    shown: Option<String>,
}

impl Telling {
    /// Nothing yet, of a login that was asked for with these wishes.
    pub fn new(wishes: LoginWishes) -> Self {
        Self { wishes, shown: None }
    }

    /// What a person has to see of this.
    pub fn of(&mut self, update: &LoginUpdate) -> Option<String> {
        match update {
            LoginUpdate::Begun { sign_in, flow, reason } => {
                let way = match flow {
                    LoginFlow::AuthorizationCode => "with the browser",
                    LoginFlow::DeviceCode => "with a code",
                };
                Some(format!("{sign_in}: signing in {way}: {reason}"))
            }
            LoginUpdate::Progress(LoginProgress::Starting) => None,
            LoginUpdate::Progress(LoginProgress::Waiting { url, user_code, page }) => {
                self.page(url, user_code.as_deref(), *page)
            }
            LoginUpdate::Progress(LoginProgress::Finishing) => Some("the browser is done".to_owned()),
            LoginUpdate::SignedIn(sign_in) => Some(signed_in(sign_in)),
        }
    }

    /// The address is told once; later only what became of it.
    fn page(&mut self, url: &str, user_code: Option<&str>, page: LoginPage) -> Option<String> {
        let is_new = self.shown.as_deref() != Some(url);
        self.shown = Some(url.to_owned());
        let opening = match page {
            LoginPage::Opening => "opening a browser; if it shows nothing, ".to_owned(),
            LoginPage::Opened if !is_new => return None,
            LoginPage::Opened => "a browser was opened; if it shows nothing, ".to_owned(),
            LoginPage::NotOpened => self.not_opened(),
            LoginPage::LeftToPerson => String::new(),
        };
        if is_new {
            Some(format!("{opening}go to\n\n  {url}\n{}", how(user_code, page)))
        } else {
            (page == LoginPage::NotOpened)
                .then(|| format!("{opening}go to the address above{}", elsewhere(user_code)))
        }
    }

    fn not_opened(&self) -> String {
        match &self.wishes.opener {
            Opener::Command(command) => format!("`{command}` opened no browser; "),
            Opener::Default | Opener::Nobody => {
                "no browser could be opened (is there a display? --browser COMMAND names one); ".to_owned()
            }
        }
    }
}

/// Address and code stand on lines of their own, to be copied.
fn how(user_code: Option<&str>, page: LoginPage) -> String {
    match user_code {
        Some(code) => format!("\nand confirm this code, if it is the one shown there:\n\n  {code}\n"),
        None if matches!(page, LoginPage::Opening | LoginPage::Opened) => String::new(),
        None => {
            "\nin a browser on this machine; with --use-device-code it may be on another one\n".to_owned()
        }
    }
}

/// Only a login with a code can be done elsewhere.
fn elsewhere(user_code: Option<&str>) -> &'static str {
    match user_code {
        Some(_) => ", on any machine",
        None => ", in a browser on this machine; with --use-device-code it may be on another one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(opener: Opener, code: Option<&str>, pages: &[LoginPage]) -> Vec<Option<String>> {
        let mut telling = Telling::new(LoginWishes { opener, ..LoginWishes::default() });
        let waiting = |page: &LoginPage| {
            let (url, user_code) = ("https://x".to_owned(), code.map(str::to_owned));
            LoginUpdate::Progress(LoginProgress::Waiting { url, user_code, page: *page })
        };
        pages.iter().map(|page| telling.of(&waiting(page))).collect()
    }

    #[test]
    fn an_address_is_told_once() {
        let opened = told(Opener::Default, None, &[LoginPage::Opening, LoginPage::Opened]);
        let text = "opening a browser; if it shows nothing, go to\n\n  https://x\n".to_owned();
        assert_eq!(opened, [Some(text), None]);
        let joined = told(Opener::Default, None, &[LoginPage::Opened]);
        let text = "a browser was opened; if it shows nothing, go to\n\n  https://x\n".to_owned();
        assert_eq!(joined, [Some(text)]);
    }

    #[test]
    fn what_did_not_open_is_named_with_the_way_out() {
        let command = Opener::Command("firefox".to_owned());
        let failed = told(command, Some("ABCD"), &[LoginPage::Opening, LoginPage::NotOpened]);
        let text = "`firefox` opened no browser; go to the address above, on any machine".to_owned();
        assert_eq!(failed[1], Some(text));
        let failed = told(Opener::Default, None, &[LoginPage::Opening, LoginPage::NotOpened]);
        let text = failed[1].as_deref().unwrap();
        assert!(text.contains("--browser COMMAND") && text.contains("--use-device-code"), "{text}");
    }
}
