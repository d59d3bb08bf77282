//! Labels on the command line.

use crate::fake::Fake;
use crate::support::{stctl, stopped};

#[tokio::test]
async fn labels_are_given_shown_and_replaced() {
    Fake::beside(vec![stopped("db", "80", "auto")], async |fake: Fake| {
        let add = "tunnel add web --target i-0abcdef1234567890 --remote 80 --label env=dev --label env=prod --label team=";
        let made = stctl(fake.socket(), &format!("{add} -o json")).await;
        let labels = serde_json::json!({ "env": "prod", "team": "" });
        assert_eq!(made.json()["spec"]["labels"], labels, "of one key the last value counts");
        let shown = stctl(fake.socket(), "tunnel show web").await;
        assert!(shown.out.contains("labels      env=prod team=\n"), "{}", shown.out);
        let edited = stctl(fake.socket(), "tunnel edit web --label tier=1 -o json").await;
        assert_eq!(edited.json()["tunnel"]["spec"]["labels"], serde_json::json!({ "tier": "1" }));
        let bare = stctl(fake.socket(), "tunnel edit web --no-labels -o json").await;
        assert_eq!(bare.json()["tunnel"]["spec"]["labels"], serde_json::json!({}));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_label_is_a_mistake_of_the_command_line() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        for words in ["--label env", "--label =prod", "--label a=b --no-labels"] {
            let ran = stctl(fake.socket(), &format!("tunnel edit db {words}")).await;
            assert_eq!(ran.code, 2, "{words}: {ran:?}");
        }
        assert!(fake.asked().is_empty());
    })
    .await;
}
