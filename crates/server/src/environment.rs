//! Which environment variables are settings of a server, and which look as if they were.

use crate::config::Settings;

/// Variables with our prefix that are no settings of a server: the client's, the agent's, and those of tests. One that
/// ends with `_` stands for all that begin so.
const NO_SETTINGS: [&str; 10] = [
    "URL",
    "TOKEN",
    "CONTEXT",
    "WORKSPACE",
    "BACKUP_PASSPHRASE",
    "ENROLLMENT_KEY",
    "EXECUTION_ID",
    "BIN",
    "AGENT_",
    "TEST_",
];

/// The variables with our prefix that nobody reads: misspelt ones, most likely.
pub fn unread_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let other = |name: &str| {
        NO_SETTINGS.iter().any(|other| name == *other || (other.ends_with('_') && name.starts_with(other)))
    };
    let is_unread = |name: &String| name.strip_prefix("REEVE_").is_some_and(|name| !is_setting(name) && !other(name));
    let mut unread: Vec<String> = names.filter(is_unread).collect();
    unread.sort();
    unread
}

/// Whether the environment's `REEVE_<name>` is one of the settings.
pub fn is_setting(name: &str) -> bool {
    let first = name.split("__").next().unwrap_or_default().to_ascii_lowercase();
    serde_json::to_value(Settings::default()).is_ok_and(|defaults| defaults.get(&first).is_some())
}

/// Names of the original's environment that are understood without the `REEVE_` prefix.
pub const ORIGINAL_NAMES: [&str; 21] = [
    "MASTER_KEY",
    "API_KEY",
    "METRICS_KEY",
    "MCP_KEY",
    "PROXY_KEY",
    "DEFAULT_CLUSTER_NAME",
    "PUBLIC_ENROLLMENT_KEY_ENABLED",
    "ADMIN_CLUSTER_NAME",
    "ADMIN_CLUSTER_SUBNET",
    "ZOMBIE_ADMIN_CHECKIN_THRESHOLD_MINUTES",
    "ADMIN_MAX_WIREGUARD_PEERS",
    "CLUSTER_SUBNET_PREFIX",
    "CORE_NAME",
    "METRICS_SCRAPE_TIMEOUT_MS",
    "METRICS_BASE_URL",
    "EXECUTION_PRUNING_ENABLED",
    "EXECUTION_PRUNING_SCHEDULE",
    "EXECUTION_RETENTION_DAYS",
    "WEBHOOK_MAX_ATTEMPTS",
    "WEBHOOK_ALLOW_PRIVATE_IPS",
    "EVENT_DELIVERY_MAX_AGE_SECONDS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_settings_are_found() {
        let names = [
            "REEVE_LISTEN_EDGE",
            "REEVE_SURFACES__EDGE__LISTEN",
            "REEVE_DATA",
            "REEVE_TOKEN",
            "REEVE_TEST_PYTHON",
            "REEVE_AGENT_DATA",
            "REEVE_LOCALPOOL",
            "PATH",
        ];
        assert_eq!(unread_variables(names.into_iter().map(str::to_owned)), ["REEVE_LISTEN_EDGE", "REEVE_LOCALPOOL"]);
    }
}
