//! Databases as released versions wrote them. They are never written again: what is in them must be found for ever.

use super::*;

/// Schema 1: before labels, events and statistics.
const SCHEMA_1: &[u8] = include_bytes!("../frozen/schema-1.db");

#[tokio::test]
async fn every_tunnel_of_schema_1_is_found() {
    let directory = TempDir::new().unwrap();
    fs::write(path(&directory), SCHEMA_1).unwrap();
    let opened = open(&path(&directory));
    assert_eq!(opened.warnings, [""; 0]);
    let handle = opened.store.handle();
    let state = handle.load().await.unwrap();

    let shown: Vec<String> = state.tunnels.iter().map(shown).collect();
    assert_eq!(
        shown,
        [
            "db 1 prod eu-west-1 i-0abcdef1234567890 db.internal:5432 127.0.0.1:15432 Run None Some(\"r-0001\")",
            "open 3 prod eu-west-1 i-0abcdef1234567890 10.0.0.7:443 0.0.0.0:8443 (open) Run None None",
            "six 4 Prod Admin eu-west-1 mi-0abcdef1234567890 [fd00::1]:22 [::1]:2222 Run None None",
            "task 5 prod eu-west-1 ecs:main_0123456789abcdef_0123456789abcdef-42 8080 localhost:18080 Run None None",
            "web 2 - - i-0abcdef1234567890 80 localhost:auto Stop Some(40123) None",
        ]
    );
    let created: Vec<u64> = state.tunnels.iter().map(|tunnel| tunnel.created_at.as_millis()).collect();
    let at = |minute: u64| 1_760_000_000_000 + minute * 60_000;
    assert_eq!(created, [at(1), at(3), at(4), at(5), at(2)]);
    assert!(state.tunnels.iter().all(|tunnel| tunnel.spec.labels.is_empty()), "there were none");
    assert!(
        state.tunnels.iter().all(|tunnel| tunnel.terms == RunTerms::default()),
        "they run on, without an end"
    );
    let sessions: Vec<&str> = state.open_sessions.iter().map(|session| session.id.0.as_str()).collect();
    assert_eq!(sessions, ["ada-0123456789abcdef0", "ada-0fedcba9876543210"]);

    // It has become one of the present schema, and goes on as such.
    let labelled = StoredTunnel {
        spec: TunnelSpec { labels: labels(&["env=prod"]), ..state.tunnels[0].spec.clone() },
        ..state.tunnels[0].clone()
    };
    handle.put_tunnel(labelled.clone()).await.unwrap();
    drop(handle);
    opened.store.close().await;
    let opened = open(&path(&directory));
    assert_eq!(opened.store.handle().load().await.unwrap().tunnels[0], labelled);
    println!(
        "promise state.old: the database of schema 1 gave {} tunnels and {} open sessions",
        created.len(),
        sessions.len()
    );
}

fn shown(tunnel: &StoredTunnel) -> String {
    let StoredTunnel { etag, spec, intent, kept_port, request_id, .. } = tunnel;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    format!(
        "{} {} {} {} {} {} {}{} {intent:?} {kept_port:?} {:?}",
        spec.name,
        etag.0,
        or_dash(spec.profile.as_ref().map(ToString::to_string)),
        or_dash(spec.region.as_ref().map(ToString::to_string)),
        spec.target,
        spec.remote,
        spec.local,
        if spec.allow_non_loopback { " (open)" } else { "" },
        request_id.as_ref().map(|id| id.0.as_str()),
    )
}
