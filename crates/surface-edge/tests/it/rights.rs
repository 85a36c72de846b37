//! Every operation with every kind of caller.

use std::sync::Arc;

use reeve_domain::authz::{key_may, role_may};
use reeve_domain::identity::{api_token, session, user};
use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Caller, hold_to_rights};
use reeve_types::access::StaticKey;
use reeve_types::{Actor, Permission, Permission as P, Principal, Role, Secret, Timestamp};

/// What each operation needs, written down once more: a route that slips to another permission is noticed.
#[rustfmt::skip]
const TABLE: &[(&str, Option<Permission>)] = &[
    ("admins.me", Some(P::AdminsRead)),
    ("admins.my_admin_cluster", Some(P::AdminsRead)),
    ("admins.admin_clusters", Some(P::AdminsRead)),
    ("admins.edge_clusters", Some(P::AdminsRead)),
    ("admins.orphaned_clusters", Some(P::AdminsRead)),
    ("clusters.create", Some(P::ClustersWrite)),
    ("clusters.list", Some(P::ClustersRead)),
    ("clusters.get", Some(P::ClustersRead)),
    ("clusters.update", Some(P::ClustersWrite)),
    ("clusters.delete", Some(P::ClustersWrite)),
    ("enrollment_keys.create_public", None),
    ("enrollment_keys.create_default", Some(P::EnrollmentKeysWrite)),
    ("enrollment_keys.create", Some(P::EnrollmentKeysWrite)),
    ("enrollment_keys.list", Some(P::EnrollmentKeysRead)),
    ("enrollment_keys.get", Some(P::EnrollmentKeysRead)),
    ("enrollment_keys.update", Some(P::EnrollmentKeysWrite)),
    ("enrollment_keys.delete", Some(P::EnrollmentKeysWrite)),
    ("nodes.list", Some(P::NodesRead)),
    ("nodes.get", Some(P::NodesRead)),
    ("nodes.delete", Some(P::NodesWrite)),
    ("nodes.change_cluster", Some(P::NodesWrite)),
    ("nodes.label", Some(P::NodesWrite)),
    ("commands.create", Some(P::CommandsRun)),
    ("commands.list", Some(P::CommandsRead)),
    ("commands.get", Some(P::CommandsRead)),
    ("commands.delete", Some(P::CommandsRun)),
    ("commands.summary", Some(P::CommandsRead)),
    ("commands.stream", Some(P::CommandsRead)),
    ("commands.cancel", Some(P::CommandsRun)),
    ("commands.rollout.pause", Some(P::CommandsRun)),
    ("commands.rollout.resume", Some(P::CommandsRun)),
    ("commands.rollout.abort", Some(P::CommandsRun)),
    ("command_executions.list", Some(P::CommandsRead)),
    ("command_executions.get", Some(P::CommandsRead)),
    ("command_executions.delete", Some(P::CommandsRun)),
    ("command_executions.cancel", Some(P::CommandsRun)),
    ("command_executions.output", Some(P::CommandsRead)),
    ("command_executions.stream", Some(P::CommandsRead)),
    ("webhooks.create", Some(P::WebhooksWrite)),
    ("webhooks.list", Some(P::WebhooksRead)),
    ("webhooks.get", Some(P::WebhooksRead)),
    ("webhooks.update", Some(P::WebhooksWrite)),
    ("webhooks.delete", Some(P::WebhooksWrite)),
    ("webhooks.pause", Some(P::WebhooksWrite)),
    ("webhooks.resume", Some(P::WebhooksWrite)),
    ("webhooks.test", Some(P::WebhooksWrite)),
    ("webhooks.redeliver", Some(P::WebhooksWrite)),
    ("webhooks.deliveries", Some(P::WebhooksRead)),
    ("webhook_deliveries.list", Some(P::WebhooksRead)),
    ("webhook_deliveries.get", Some(P::WebhooksRead)),
    ("webhook_deliveries.redeliver", Some(P::WebhooksWrite)),
    ("event_types.list", Some(P::EventsRead)),
    ("admins.metrics", Some(P::MetricsRead)),
    ("admins.metrics_raw", Some(P::MetricsRead)),
    ("node_metrics.list", Some(P::MetricsRead)),
    ("node_metrics.discover_host", Some(P::MetricsRead)),
    ("node_metrics.discover_agent", Some(P::MetricsRead)),
    ("node_metrics.discover_wireguard", Some(P::MetricsRead)),
    ("node_metrics.unified", Some(P::MetricsRead)),
    ("node_metrics.host", Some(P::MetricsRead)),
    ("node_metrics.agent", Some(P::MetricsRead)),
    ("node_metrics.host_raw", Some(P::MetricsRead)),
    ("node_metrics.agent_raw", Some(P::MetricsRead)),
    ("node_metrics.wireguard_raw", Some(P::MetricsRead)),
    ("aliases.create", Some(P::AliasesWrite)),
    ("aliases.list", Some(P::AliasesRead)),
    ("aliases.get", Some(P::AliasesRead)),
    ("aliases.delete", Some(P::AliasesWrite)),
    ("ssh_usernames.create", Some(P::SshWrite)),
    ("ssh_usernames.verify", Some(P::SshWrite)),
    ("ssh_usernames.list", Some(P::SshRead)),
    ("ssh_usernames.get", Some(P::SshRead)),
    ("ssh_usernames.delete", Some(P::SshWrite)),
    ("ssh_public_keys.create", Some(P::SshWrite)),
    ("ssh_public_keys.list", Some(P::SshRead)),
    ("ssh_public_keys.get", Some(P::SshRead)),
    ("ssh_public_keys.delete", Some(P::SshWrite)),
    ("self_update_requests.create", Some(P::SelfUpdatesWrite)),
    ("self_update_requests.list", Some(P::SelfUpdatesRead)),
    ("self_update_requests.get", Some(P::SelfUpdatesRead)),
    ("self_update_requests.delete", Some(P::SelfUpdatesWrite)),
    ("self_update_requests.nodes", Some(P::SelfUpdatesRead)),
    ("self_update_requests.rollout.pause", Some(P::SelfUpdatesWrite)),
    ("self_update_requests.rollout.resume", Some(P::SelfUpdatesWrite)),
    ("self_update_requests.rollout.abort", Some(P::SelfUpdatesWrite)),
];

const PASSWORD: &str = "long enough for the table";

async fn callers(app: &TestApp) -> Vec<Caller> {
    let nobody = |name: &str, bearer: Option<String>| Caller { name: name.to_owned(), bearer, may: None };
    let mut callers = vec![
        nobody("nobody", None),
        nobody("nonsense", Some("nonsense".to_owned())),
        nobody("an empty token", Some(String::new())),
        nobody("an unknown API token", Some("rv_00000000_nonsense".to_owned())),
    ];
    for role in Role::ALL {
        let create = user::Create { username: role.word().to_owned(), password: Secret::new(PASSWORD), role };
        let created = user::create(&app.app, &Actor::system(), create).await.unwrap();
        let login = session::login(&app.app, &Actor::anonymous(), role.word(), &Secret::new(PASSWORD)).await.unwrap();
        let may = move |permission| role_may(role, permission);
        let access = login.access_token.expose().to_owned();
        callers.push(Caller { name: role.word().to_owned(), bearer: Some(access.clone()), may: Some(Box::new(may)) });
        if role != Role::Admin {
            continue;
        }
        callers.push(nobody("a refresh token", Some(login.refresh_token.expose().to_owned())));
        callers.push(nobody("a token with another signature", Some(format!("{access}x"))));
        let as_admin =
            Actor { principal: Principal::User { id: created.id, name: created.username }, ..Actor::system() };
        let scoped = |name: &str, expires_at| api_token::Create {
            name: name.to_owned(),
            scopes: vec![P::NodesRead.word().to_owned()],
            expires_at,
        };
        let soon = Timestamp(app.app.now().0 + 60_000_000);
        let (_, secret) = api_token::create(&app.app, &as_admin, scoped("narrow", Some(soon))).await.unwrap();
        let may = |permission| permission == P::NodesRead;
        let bearer = Some(secret.expose().to_owned());
        callers.push(Caller { name: "a token for nodes".to_owned(), bearer, may: Some(Box::new(may)) });
    }
    for (key, bearer) in [
        (StaticKey::Master, &app.keys.master),
        (StaticKey::Api, &app.keys.api),
        (StaticKey::Metrics, &app.keys.metrics),
    ] {
        let may = move |permission| key_may(key, permission);
        callers.push(Caller { name: key.word().to_owned(), bearer: Some(bearer.clone()), may: Some(Box::new(may)) });
    }
    callers
}

async fn hold(app: TestApp) {
    let contract = Arc::clone(&app.contract);
    let problems = hold_to_rights(&app.url, &contract, TABLE, &callers(&app).await).await.unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_and_caller_as_in_the_table() {
    hold(TestApp::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_and_caller_as_in_the_table_on_postgres() {
    hold(TestApp::postgres().await).await;
}
