//! Formats, widths, pages and secrets.

use serde_json::{Value, json};

use crate::fake::{Fake, User, node, page};

const NODES: &str = "GET /edge/api/v1/nodes";

async fn fleet() -> Fake {
    let fake = Fake::start().await;
    fake.on(NODES, |_| {
        page(vec![node(1, "web-1", "healthy"), node(2, "db-1.long.example.internal", "unreachable")], 2, false)
    });
    fake
}

#[tokio::test]
async fn a_pipe_gets_whole_cells() {
    let ran = User::of(&fleet().await).run("node list").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.stdout,
        "NAME                        STATUS       CONNECTED  CLUSTER  SEEN  VERSION  ID                                    LABELS\n\
         web-1                       healthy      yes        prod     30s   0.1.0    00000001-89ab-4def-8123-456789abcdef  env=prod,name=web-1\n\
         db-1.long.example.internal  unreachable  no         prod     30s   0.1.0    00000002-89ab-4def-8123-456789abcdef  env=prod,name=db-1.long.example.internal\n"
    );
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn tables_fit_narrow_terminals() {
    let fake = fleet().await;
    let at_80 = User::of(&fake).wide(80).run("node list").await;
    assert_eq!(
        at_80.stdout,
        "NAME                        STATUS       CONNECTED  CLUSTER  SEEN  ID\n\
         web-1                       healthy      yes        prod     30s   00000001-89a…\n\
         db-1.long.example.internal  unreachable  no         prod     30s   00000002-89a…\n"
    );
    let at_40 = User::of(&fake).wide(40).run("node list").await;
    assert_eq!(
        at_40.stdout,
        "NAME                        STATUS\n\
         web-1                       healthy\n\
         db-1.long.example.internal  unreachable\n"
    );
    let at_20 = User::of(&fake).wide(20).run("node list").await;
    assert_eq!(at_20.stdout, "NAME\nweb-1\ndb-1.long.example.i…\n");
    let at_200 = User::of(&fake).wide(200).run("node list").await;
    assert_eq!(at_200.stdout, User::of(&fake).run("node list").await.stdout);
}

#[tokio::test]
async fn wide_shows_more_and_shortens_nothing() {
    let ran = User::of(&fleet().await).wide(40).run("node list -o wide").await;
    let head = ran.stdout.lines().next().unwrap();
    assert!(head.ends_with("ID TYPE     AGE  VPN HOSTNAME"), "{head}");
    assert!(ran.stdout.contains("node-x.cluster-prod.nm.internal") && !ran.stdout.contains('…'));
}

#[tokio::test]
async fn colour_is_for_terminals() {
    let fake = fleet().await;
    assert!(!User::of(&fake).run("node list").await.stdout.contains('\u{1b}'));
    let mut user = User::of(&fake).wide(80);
    user.colour = true;
    assert!(user.run("node list").await.stdout.contains("\u{1b}[32mhealthy"));
}

#[tokio::test]
async fn documents_hold_the_servers_words_without_secrets() {
    let fake = fleet().await;
    let ran = User::of(&fake).run("node list -o json").await;
    let rows: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(rows[0]["last_seen_at"], "2026-01-10T11:59:30Z");
    assert!(rows[0].get("api_token").is_none() && !ran.stdout.contains("secret"));
    let ran = User::of(&fake).run("node list -o json --show-secrets").await;
    assert!(ran.stdout.contains("secret-a"));
    let ran = User::of(&fake).run("node list -o yaml").await;
    assert!(ran.stdout.contains("cluster_name: prod") && ran.stdout.contains("hostname: h"), "{}", ran.stdout);
    let ran = User::of(&fake).run("node list -o name").await;
    assert_eq!(ran.stdout, "00000001-89ab-4def-8123-456789abcdef\n00000002-89ab-4def-8123-456789abcdef\n");
}

#[tokio::test]
async fn one_thing_is_shown_line_by_line() {
    let fake = Fake::start().await;
    fake.on(NODES, |_| page(vec![node(1, "web-1", "healthy")], 1, false));
    fake.on("GET /edge/api/v1/nodes/00000001-89ab-4def-8123-456789abcdef", |_| {
        crate::fake::data(node(1, "web-1", "healthy"))
    });
    let ran = User::of(&fake).run("node show web-1").await;
    assert!(ran.stdout.starts_with("NAME           web-1\nSTATUS         healthy\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("PORTS          ssh 40022\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("FACTS          hostname: h\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn pages_are_followed_up_to_the_limit() {
    let fake = Fake::start().await;
    fake.on(NODES, |seen| {
        let page_no: usize = seen.param("page").unwrap().parse().unwrap();
        let size: usize = seen.param("page_size").unwrap().parse().unwrap();
        let first = (page_no - 1) * size;
        let rows =
            (first..(first + size).min(250)).map(|n| node(u8::try_from(n).unwrap(), &format!("n{n}"), "healthy"));
        page(rows.collect(), 250, first + size < 250)
    });
    let all = User::of(&fake).run("node list -o name").await;
    assert_eq!((all.stdout.lines().count(), fake.asked(NODES).len()), (250, 3));
    assert_eq!(all.stderr, "");
    let some = User::of(&fake).run("node list -o name --limit 120").await;
    assert_eq!(some.stdout.lines().count(), 120);
    assert_eq!(some.stderr, "showing 120 of 250 nodes; --limit 0 shows all\n");
}

#[tokio::test]
async fn an_empty_list_says_so_without_soiling_the_output() {
    let fake = Fake::start().await;
    fake.on(NODES, |_| page(Vec::new(), 0, false));
    let ran = User::of(&fake).run("node list").await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "no nodes\n"));
    assert_eq!(User::of(&fake).run("node list -o json").await.stdout, "[]\n");
}

#[tokio::test]
async fn filters_become_query_parameters() {
    let fake = fleet().await;
    let mut user = User::of(&fake);
    user.run_words(&[
        "node",
        "list",
        "-l",
        "env=prod,zone in (a,b)",
        "--connected",
        "--status",
        "healthy",
        "--sort",
        "-last_seen_at",
    ])
    .await;
    let seen = fake.asked(NODES).pop().unwrap();
    assert_eq!(seen.param("label_selector"), Some("env%3Dprod%2Czone+in+%28a%2Cb%29"));
    assert_eq!((seen.param("connected"), seen.param("status")), (Some("true"), Some("healthy")));
    assert_eq!((seen.param("order_by"), seen.param("order_directions")), (Some("last_seen_at"), Some("desc")));
    assert_eq!(seen.header("authorization"), "Bearer key-1");
}

#[tokio::test]
async fn text_of_a_node_cannot_steer_the_terminal() {
    let fake = Fake::start().await;
    fake.on(NODES, |_| {
        let mut bad = node(1, "x", "healthy");
        bad["labels"] = json!({"name": "evil\u{1b}[2J\nrow"});
        page(vec![bad], 1, false)
    });
    let ran = User::of(&fake).wide(200).run("node list").await;
    assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.lines().count() == 2, "{:?}", ran.stdout);
}
