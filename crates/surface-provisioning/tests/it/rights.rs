//! Every operation with every role.

use reeve_domain::authz::{key_may, role_may};
use reeve_domain::identity::{session, user};
use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Caller, hold_to_rights};
use reeve_types::access::StaticKey;
use reeve_types::{Actor, Permission, Permission as P, Role, Secret};

use crate::base;

/// What each operation needs, written down once more: a route that slips to another permission is noticed.
#[rustfmt::skip]
const TABLE: &[(&str, Option<Permission>)] = &[
    ("auth.login", None),
    ("auth.refresh", None),
    ("auth.logout", None),
    ("auth.me", None),
    ("servers.list", Some(P::HostsRead)),
    ("servers.create", Some(P::HostsCreate)),
    ("servers.get", Some(P::HostsRead)),
    ("servers.delete", Some(P::HostsDelete)),
    ("servers.status", Some(P::HostsRead)),
    ("servers.start", Some(P::HostsCreate)),
    ("servers.stop", Some(P::HostsCreate)),
    ("servers.reboot", Some(P::HostsCreate)),
    ("servers.ssh", Some(P::HostsSsh)),
    ("providers.list", Some(P::HostsRead)),
    ("providers.plans", Some(P::HostsRead)),
    ("providers.zones", Some(P::HostsRead)),
    ("providers.images", Some(P::HostsRead)),
    ("taskservs.list", Some(P::TaskservsRead)),
    ("taskservs.create", Some(P::TaskservsCreate)),
    ("taskservs.delete", Some(P::TaskservsDelete)),
    ("taskservs.get", Some(P::TaskservsRead)),
    ("taskservs.upgrade", Some(P::TaskservsCreate)),
    ("taskservs.health", Some(P::TaskservsRead)),
    ("taskservs.catalogue", Some(P::TaskservsRead)),
    ("workflows.submit", Some(P::WorkflowsSubmit)),
    ("workflows.list", Some(P::WorkflowsRead)),
    ("workflows.get", Some(P::WorkflowsRead)),
    ("workflows.cancel", Some(P::WorkflowsCancel)),
    ("workflows.steps", Some(P::WorkflowsRead)),
    ("operations.list", Some(P::OperationsRead)),
    ("operations.get", Some(P::OperationsRead)),
    ("operations.detail", Some(P::OperationsRead)),
    ("operations.log", Some(P::OperationsRead)),
    ("operations.stream", Some(P::OperationsRead)),
    ("operations.cancel", Some(P::OperationsCancel)),
    ("operations.retry", Some(P::OperationsCancel)),
    ("plans.list", Some(P::OperationsRead)),
    ("plans.get", Some(P::OperationsRead)),
    ("plans.apply", Some(P::WorkflowsSubmit)),
    ("workspaces.list", Some(P::WorkspacesRead)),
    ("workspaces.create", Some(P::WorkspacesCreate)),
    ("workspaces.get", Some(P::WorkspacesRead)),
    ("workspaces.update", Some(P::WorkspacesCreate)),
    ("workspaces.delete", Some(P::WorkspacesCreate)),
    ("workspaces.activate", Some(P::WorkspacesCreate)),
    ("workspaces.key", Some(P::WorkspacesRead)),
    ("credentials.list", Some(P::WorkspacesRead)),
    ("credentials.put", Some(P::WorkspacesCreate)),
    ("credentials.delete", Some(P::WorkspacesCreate)),
    ("audit.list", Some(P::AuditRead)),
    ("system.metrics", Some(P::SystemMetrics)),
    ("system.health", None),
    ("system.ready", None),
];

const PASSWORD: &str = "long enough for the table";

async fn hold(app: TestApp) {
    let mut callers = vec![
        Caller { name: "nobody".to_owned(), bearer: None, may: None },
        Caller { name: "nonsense".to_owned(), bearer: Some("nonsense".to_owned()), may: None },
    ];
    for role in Role::ALL {
        let create = user::Create { username: role.word().to_owned(), password: Secret::new(PASSWORD), role };
        user::create(&app.app, &Actor::system(), create).await.unwrap();
        let login = session::login(&app.app, &Actor::anonymous(), role.word(), &Secret::new(PASSWORD)).await.unwrap();
        let bearer = Some(login.access_token.expose().to_owned());
        let may = move |permission| role_may(role, permission);
        callers.push(Caller { name: role.word().to_owned(), bearer, may: Some(Box::new(may)) });
        let bearer = Some(login.refresh_token.expose().to_owned());
        callers.push(Caller { name: format!("the refresh token of {}", role.word()), bearer, may: None });
    }
    for (key, bearer) in [(StaticKey::Master, &app.keys.master), (StaticKey::Api, &app.keys.api)] {
        let may = move |permission| key_may(key, permission);
        callers.push(Caller { name: key.word().to_owned(), bearer: Some(bearer.clone()), may: Some(Box::new(may)) });
    }
    let contract = app.provisioning_contract.clone();
    let known: Vec<(&str, Option<Permission>)> = TABLE
        .iter()
        .copied()
        .filter(|(id, _)| contract.operation(id).is_some() || !id.starts_with("taskservs."))
        .collect();
    let mut problems = hold_to_rights(&base(&app), &contract, &known, &callers).await.unwrap();
    // Public, and yet nobody is told who nobody is.
    problems
        .retain(|problem| !["auth.me as", "auth.login as", "auth.refresh as"].iter().any(|p| problem.starts_with(p)));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_and_role_as_in_the_table() {
    hold(TestApp::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_and_role_as_in_the_table_on_postgres() {
    hold(TestApp::postgres().await).await;
}
