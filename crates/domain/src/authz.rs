//! Who may do what: the one table from roles and static keys to permissions, and the question every use case asks first.
//!
//! Must not read the store: rights are in the [`Actor`] by the time they are asked for.

use std::collections::BTreeSet;

use reeve_types::access::StaticKey;
use reeve_types::{Actor, Error, Permission, Principal, Result, Role};

/// Whether a user of `role` holds `permission`. One line per permission, so that a new one does not compile before
/// somebody decided.
pub fn role_may(role: Role, permission: Permission) -> bool {
    use Role::{Admin, Developer, Operator};
    let everybody = true;
    match permission {
        Permission::AdminsRead => everybody,
        Permission::ClustersRead => everybody,
        Permission::ClustersWrite => matches!(role, Admin | Operator),
        // A key that can be read can be used, and using one changes the fleet's shape.
        Permission::EnrollmentKeysRead => matches!(role, Admin | Operator),
        Permission::EnrollmentKeysWrite => matches!(role, Admin | Operator),
        Permission::NodesRead => everybody,
        Permission::NodesWrite => matches!(role, Admin | Operator),
        Permission::NodeSecretsRead => matches!(role, Admin | Operator),
        Permission::CommandsRead => everybody,
        Permission::CommandsRun => matches!(role, Admin | Operator | Developer),
        Permission::AliasesRead => everybody,
        Permission::AliasesWrite => matches!(role, Admin | Operator),
        Permission::SshRead => everybody,
        // Whoever gets in is root there.
        Permission::SshWrite => matches!(role, Admin | Operator),
        Permission::SelfUpdatesRead => everybody,
        Permission::SelfUpdatesWrite => matches!(role, Admin | Operator),
        Permission::MetricsRead => everybody,
        // A URL often is a secret of the receiver.
        Permission::WebhooksRead => matches!(role, Admin | Operator),
        Permission::WebhooksWrite => matches!(role, Admin | Operator),
        Permission::EventsRead => everybody,
        Permission::AuditRead => matches!(role, Admin),
        Permission::JobsRead => everybody,
        Permission::JobsWrite => matches!(role, Admin | Operator),
        Permission::UsersRead => matches!(role, Admin),
        Permission::UsersWrite => matches!(role, Admin),
        Permission::SelfManage => everybody,
        Permission::ServerRead => everybody,
        Permission::ServerWrite => matches!(role, Admin),
        Permission::McpUse => matches!(role, Admin | Operator | Developer),
        Permission::ProxyUse => matches!(role, Admin | Operator | Developer),
        Permission::HostsRead => everybody,
        Permission::HostsCreate => matches!(role, Admin | Operator),
        Permission::HostsDelete => matches!(role, Admin | Operator),
        // As with commands: whoever may run them there may log in.
        Permission::HostsSsh => matches!(role, Admin | Operator | Developer),
        Permission::TaskservsRead => everybody,
        Permission::TaskservsCreate => matches!(role, Admin | Operator),
        Permission::TaskservsDelete => matches!(role, Admin | Operator),
        Permission::WorkflowsSubmit => matches!(role, Admin | Operator),
        Permission::WorkflowsRead => everybody,
        Permission::WorkflowsCancel => matches!(role, Admin | Operator),
        Permission::OperationsRead => everybody,
        Permission::OperationsCancel => matches!(role, Admin | Operator),
        Permission::WorkspacesRead => everybody,
        // A workspace holds the credentials that others are billed by.
        Permission::WorkspacesCreate => matches!(role, Admin),
        Permission::SystemMetrics => matches!(role, Admin | Operator),
    }
}

/// Whether the static key `key` holds `permission`.
pub fn key_may(key: StaticKey, permission: Permission) -> bool {
    match key {
        StaticKey::Master => true,
        StaticKey::Api => match permission {
            Permission::MetricsRead => false,
            Permission::EventsRead => true,
            other => other.word().starts_with("edge."),
        },
        StaticKey::Metrics => permission == Permission::MetricsRead,
        StaticKey::Mcp => permission == Permission::McpUse,
        StaticKey::Proxy => permission == Permission::ProxyUse,
    }
}

/// All permissions of `role`.
pub fn of_role(role: Role) -> BTreeSet<Permission> {
    Permission::ALL.iter().copied().filter(|p| role_may(role, *p)).collect()
}

/// All permissions of the static key `key`.
pub fn of_key(key: StaticKey) -> BTreeSet<Permission> {
    Permission::ALL.iter().copied().filter(|p| key_may(key, *p)).collect()
}

/// The permissions of an API token: its scopes, as far as its user's role still holds them. No scopes mean all of the
/// role's; a word that is no permission (any more) gives nothing.
pub fn of_token(role: Role, scopes: &[String]) -> BTreeSet<Permission> {
    let of_role = of_role(role);
    if scopes.is_empty() {
        return of_role;
    }
    let scopes: BTreeSet<Permission> = scopes.iter().filter_map(|word| Permission::parse(word)).collect();
    of_role.intersection(&scopes).copied().collect()
}

/// The first line of every use case.
///
/// # Errors
/// Unauthenticated for nobody; Forbidden, naming the permission that is missing, for somebody without it.
pub fn require(actor: &Actor, permission: Permission) -> Result<()> {
    if actor.may(permission) {
        return Ok(());
    }
    match actor.principal {
        Principal::Anonymous => Err(Error::unauthenticated("Missing or invalid credentials")),
        Principal::User { .. } | Principal::ApiToken { .. } | Principal::Key(_) | Principal::System => {
            Err(Error::missing_permission(permission))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::ErrorKind;
    use reeve_types::access::RequestContext;

    /// admin, operator, developer, viewer.
    const TABLE: &[(&str, [u8; 4])] = &[
        ("edge.admins.read", [1, 1, 1, 1]),
        ("edge.clusters.read", [1, 1, 1, 1]),
        ("edge.clusters.write", [1, 1, 0, 0]),
        ("edge.enrollment_keys.read", [1, 1, 0, 0]),
        ("edge.enrollment_keys.write", [1, 1, 0, 0]),
        ("edge.nodes.read", [1, 1, 1, 1]),
        ("edge.nodes.write", [1, 1, 0, 0]),
        ("edge.node_secrets.read", [1, 1, 0, 0]),
        ("edge.commands.read", [1, 1, 1, 1]),
        ("edge.commands.run", [1, 1, 1, 0]),
        ("edge.aliases.read", [1, 1, 1, 1]),
        ("edge.aliases.write", [1, 1, 0, 0]),
        ("edge.ssh.read", [1, 1, 1, 1]),
        ("edge.ssh.write", [1, 1, 0, 0]),
        ("edge.self_updates.read", [1, 1, 1, 1]),
        ("edge.self_updates.write", [1, 1, 0, 0]),
        ("edge.metrics.read", [1, 1, 1, 1]),
        ("edge.webhooks.read", [1, 1, 0, 0]),
        ("edge.webhooks.write", [1, 1, 0, 0]),
        ("events.read", [1, 1, 1, 1]),
        ("audit.read", [1, 0, 0, 0]),
        ("jobs.read", [1, 1, 1, 1]),
        ("jobs.write", [1, 1, 0, 0]),
        ("users.read", [1, 0, 0, 0]),
        ("users.write", [1, 0, 0, 0]),
        ("self.manage", [1, 1, 1, 1]),
        ("server.read", [1, 1, 1, 1]),
        ("server.write", [1, 0, 0, 0]),
        ("mcp.use", [1, 1, 1, 0]),
        ("proxy.use", [1, 1, 1, 0]),
        ("provisioning.server_read", [1, 1, 1, 1]),
        ("provisioning.server_create", [1, 1, 0, 0]),
        ("provisioning.server_delete", [1, 1, 0, 0]),
        ("provisioning.server_ssh", [1, 1, 1, 0]),
        ("provisioning.taskserv_read", [1, 1, 1, 1]),
        ("provisioning.taskserv_create", [1, 1, 0, 0]),
        ("provisioning.taskserv_delete", [1, 1, 0, 0]),
        ("provisioning.workflow_submit", [1, 1, 0, 0]),
        ("provisioning.workflow_read", [1, 1, 1, 1]),
        ("provisioning.workflow_cancel", [1, 1, 0, 0]),
        ("provisioning.operation_read", [1, 1, 1, 1]),
        ("provisioning.operation_cancel", [1, 1, 0, 0]),
        ("provisioning.workspace_read", [1, 1, 1, 1]),
        ("provisioning.workspace_create", [1, 0, 0, 0]),
        ("provisioning.system_metrics", [1, 1, 0, 0]),
    ];

    /// master, api, metrics, mcp, proxy.
    const KEYS: &[(&str, [u8; 5])] = &[
        ("edge.admins.read", [1, 1, 0, 0, 0]),
        ("edge.clusters.read", [1, 1, 0, 0, 0]),
        ("edge.clusters.write", [1, 1, 0, 0, 0]),
        ("edge.enrollment_keys.read", [1, 1, 0, 0, 0]),
        ("edge.enrollment_keys.write", [1, 1, 0, 0, 0]),
        ("edge.nodes.read", [1, 1, 0, 0, 0]),
        ("edge.nodes.write", [1, 1, 0, 0, 0]),
        ("edge.node_secrets.read", [1, 1, 0, 0, 0]),
        ("edge.commands.read", [1, 1, 0, 0, 0]),
        ("edge.commands.run", [1, 1, 0, 0, 0]),
        ("edge.aliases.read", [1, 1, 0, 0, 0]),
        ("edge.aliases.write", [1, 1, 0, 0, 0]),
        ("edge.ssh.read", [1, 1, 0, 0, 0]),
        ("edge.ssh.write", [1, 1, 0, 0, 0]),
        ("edge.self_updates.read", [1, 1, 0, 0, 0]),
        ("edge.self_updates.write", [1, 1, 0, 0, 0]),
        ("edge.metrics.read", [1, 0, 1, 0, 0]),
        ("edge.webhooks.read", [1, 1, 0, 0, 0]),
        ("edge.webhooks.write", [1, 1, 0, 0, 0]),
        ("events.read", [1, 1, 0, 0, 0]),
        ("audit.read", [1, 0, 0, 0, 0]),
        ("jobs.read", [1, 0, 0, 0, 0]),
        ("jobs.write", [1, 0, 0, 0, 0]),
        ("users.read", [1, 0, 0, 0, 0]),
        ("users.write", [1, 0, 0, 0, 0]),
        ("self.manage", [1, 0, 0, 0, 0]),
        ("server.read", [1, 0, 0, 0, 0]),
        ("server.write", [1, 0, 0, 0, 0]),
        ("mcp.use", [1, 0, 0, 1, 0]),
        ("proxy.use", [1, 0, 0, 0, 1]),
        ("provisioning.server_read", [1, 0, 0, 0, 0]),
        ("provisioning.server_create", [1, 0, 0, 0, 0]),
        ("provisioning.server_delete", [1, 0, 0, 0, 0]),
        ("provisioning.server_ssh", [1, 0, 0, 0, 0]),
        ("provisioning.taskserv_read", [1, 0, 0, 0, 0]),
        ("provisioning.taskserv_create", [1, 0, 0, 0, 0]),
        ("provisioning.taskserv_delete", [1, 0, 0, 0, 0]),
        ("provisioning.workflow_submit", [1, 0, 0, 0, 0]),
        ("provisioning.workflow_read", [1, 0, 0, 0, 0]),
        ("provisioning.workflow_cancel", [1, 0, 0, 0, 0]),
        ("provisioning.operation_read", [1, 0, 0, 0, 0]),
        ("provisioning.operation_cancel", [1, 0, 0, 0, 0]),
        ("provisioning.workspace_read", [1, 0, 0, 0, 0]),
        ("provisioning.workspace_create", [1, 0, 0, 0, 0]),
        ("provisioning.system_metrics", [1, 0, 0, 0, 0]),
    ];

    fn actor(principal: Principal, permissions: BTreeSet<Permission>) -> Actor {
        Actor { principal, permissions: permissions.into(), request: RequestContext::default() }
    }

    #[test]
    fn every_role_and_permission_as_in_the_table() {
        assert_eq!(TABLE.len(), Permission::ALL.len());
        for (word, may) in TABLE {
            let permission = Permission::parse(word).unwrap();
            for (role, expected) in Role::ALL.into_iter().zip(may) {
                let user = Principal::User { id: "u".into(), name: "u".into() };
                let answer = require(&actor(user, of_role(role)), permission);
                assert_eq!(answer.is_ok(), *expected == 1, "{} {word}", role.word());
                if let Err(error) = answer {
                    assert_eq!(error.kind, ErrorKind::Forbidden);
                    assert!(error.message.contains(word));
                }
            }
        }
    }

    #[test]
    fn every_key_and_permission_as_in_the_table() {
        assert_eq!(KEYS.len(), Permission::ALL.len());
        for (word, may) in KEYS {
            let permission = Permission::parse(word).unwrap();
            for (key, expected) in StaticKey::ALL.into_iter().zip(may) {
                let answer = require(&actor(Principal::Key(key), of_key(key)), permission);
                assert_eq!(answer.is_ok(), *expected == 1, "{} {word}", key.word());
            }
        }
    }

    #[test]
    fn a_token_never_has_more_than_its_user() {
        let scopes = ["edge.commands.run".to_owned(), "edge.nodes.read".to_owned(), "gone.word".to_owned()];
        assert_eq!(
            of_token(Role::Developer, &scopes),
            BTreeSet::from([Permission::CommandsRun, Permission::NodesRead])
        );
        assert_eq!(of_token(Role::Viewer, &scopes), BTreeSet::from([Permission::NodesRead]));
        assert_eq!(of_token(Role::Viewer, &[]), of_role(Role::Viewer));
        assert!(of_token(Role::Admin, &["gone.word".to_owned()]).is_empty());
    }

    #[test]
    fn nobody_is_asked_to_say_who_they_are() {
        let error = require(&Actor::anonymous(), Permission::NodesRead).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
    }
}
