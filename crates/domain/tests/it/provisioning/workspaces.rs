//! Folders of workspaces: below the root, never through a link, taken over only when they are one.

use std::path::Path;

use reeve_domain::workspace::{self, Create};
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::{ErrorKind, Result};

use super::Site;

async fn at(site: &Site, name: &str, path: &Path) -> Result<reeve_types::workspace::Workspace> {
    let path = Some(path.to_str().unwrap().to_owned());
    workspace::create(&site.app, &site.admin, Create { name: name.into(), path, ..Create::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_active_at_most() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made =
            workspace::create(&site.app, &site.admin, Create { name: "a".into(), activate: true, ..Create::default() })
                .await
                .unwrap();
        assert!(made.active && made.last_used_at.is_some());
        workspace::activate(&site.app, &site.admin, "w").await.unwrap();
        let all = workspace::list(&site.app, &site.admin).await.unwrap();
        let active: Vec<(&str, bool)> = all.iter().map(|w| (w.name.as_str(), w.active)).collect();
        assert_eq!(active, [("w", true), ("a", false)]);
        for folder in ["config/provisioning.yaml", "config/providers", "infra", "runtime/state", "runtime/logs"] {
            assert!(Path::new(&all[0].path).join(folder).exists(), "{folder}");
        }
        let again = workspace::create(&site.app, &site.admin, Create { name: "a".into(), ..Create::default() }).await;
        assert_eq!(again.unwrap_err().kind, ErrorKind::Conflict);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_make_the_same_one_does_and_keeps_its_folder() {
    let site = Site::new(TestDb::sqlite().await).await;
    for round in 0..20 {
        let name = format!("same-{round}");
        let make = || workspace::create(&site.app, &site.admin, Create { name: name.clone(), ..Create::default() });
        let all = futures::future::join_all((0..8).map(|_| make())).await;
        let made: Vec<_> = all.iter().filter_map(|one| one.as_ref().ok()).collect();
        assert_eq!(made.len(), 1, "{name}");
        assert!(Path::new(&made[0].path).join("config/provisioning.yaml").is_file(), "{name}: its folder is gone");
        workspace::activate(&site.app, &site.admin, &name).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_elsewhere_are_refused() {
    let site = Site::new(TestDb::sqlite().await).await;
    let root = site.clouds.root();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("link")).unwrap();
    std::fs::write(root.join("file"), "x").unwrap();
    for path in [
        Path::new("relative").to_owned(),
        Path::new("/").to_owned(),
        Path::new("/etc").to_owned(),
        root.clone(),
        root.join("../elsewhere"),
        root.join("a/../../elsewhere"),
        root.join("link"),
        root.join("link/below"),
        root.join("file/below"),
        root.join(".hidden"),
        root.join("a b"),
        root.join("a/b/c/d/e/f/g/h/i"),
        root.join("x".repeat(64)),
    ] {
        let error = at(&site, "other", &path).await.expect_err(&path.display().to_string());
        assert_eq!((error.kind, error.details.contains_key("path")), (ErrorKind::Invalid, true), "{}", path.display());
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    at(&site, "nested", &root.join("team/nested")).await.unwrap();
    let error = at(&site, "inside", &root.join("team/nested/infra")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    for name in ["", "..", "a/b", "-x"] {
        let made = workspace::create(&site.app, &site.admin, Create { name: name.into(), ..Create::default() }).await;
        assert_eq!(made.unwrap_err().kind, ErrorKind::Invalid, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_one_is_taken_over_and_others_are_spared() {
    let site = Site::new(TestDb::sqlite().await).await;
    let root = site.clouds.root();
    let made = at(&site, "a", &root.join("a")).await.unwrap();
    std::fs::write(Path::new(&made.path).join("infra/notes"), "mine").unwrap();
    let deleted = workspace::delete(&site.app, &site.admin, "a", false).await.unwrap();
    assert!(deleted.files_kept, "what people put there stays");
    let again = at(&site, "b", &root.join("a")).await.unwrap();
    assert_eq!(std::fs::read_to_string(Path::new(&again.path).join("infra/notes")).unwrap(), "mine");
    let deleted = workspace::delete(&site.app, &site.admin, "b", true).await.unwrap();
    assert!(!deleted.files_kept && !root.join("a").exists());

    std::fs::create_dir(root.join("photos")).unwrap();
    std::fs::write(root.join("photos/cat.jpg"), "meow").unwrap();
    let error = at(&site, "photos", &root.join("photos")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_eq!(std::fs::read_dir(root.join("photos")).unwrap().count(), 1);

    let empty = at(&site, "c", &root.join("c")).await.unwrap();
    let deleted = workspace::delete(&site.app, &site.admin, "c", false).await.unwrap();
    assert!(!deleted.files_kept && !Path::new(&empty.path).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_asks_for_emptiness_or_force() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made = site.create(site.order("a")).await.unwrap();
        let busy = workspace::delete(&site.app, &site.admin, "w", true).await.unwrap_err();
        assert_eq!(busy.kind, ErrorKind::Conflict);
        site.finish(&made.id).await;
        let full = workspace::delete(&site.app, &site.admin, "w", false).await.unwrap_err();
        assert_eq!(full.kind, ErrorKind::Conflict);
        let deleted = workspace::delete(&site.app, &site.admin, "w", true).await.unwrap();
        assert_eq!(deleted.hosts_left, ["a"]);
        assert_eq!(site.clouds.upcloud.servers(), 1, "the machine runs on");
        let gone = workspace::get(&site.app, &site.admin, "w").await.unwrap_err();
        assert_eq!(gone.kind, ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_sealed_and_never_shown() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let token = "a-token-that-nobody-may-see";
        let fields = std::collections::BTreeMap::from([("token".to_owned(), reeve_types::Secret::new(token))]);
        let shown = reeve_domain::credential::put(&site.app, &site.admin, "w", "upcloud", fields).await.unwrap();
        assert_eq!(shown.fields, ["token"]);
        let error = site.create(site.order("a")).await.unwrap_err();
        assert!(!error.to_string().contains(token), "{error}");
        let mut tx = site.app.store.read().await.unwrap();
        let sealed: String = tx.one("SELECT sealed FROM provider_credentials", &[]).await.unwrap().get().unwrap();
        assert!(sealed.starts_with("s1.") && !sealed.contains(token));
        drop(tx);
        for (provider, field) in [("upcloud", "colour"), ("nimbus", "token"), ("upcloud", "username")] {
            let fields = std::collections::BTreeMap::from([(field.to_owned(), reeve_types::Secret::new("x"))]);
            let error = reeve_domain::credential::put(&site.app, &site.admin, "w", provider, fields).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{provider} {field}");
        }
        reeve_domain::credential::delete(&site.app, &site.admin, "w", "upcloud").await.unwrap();
        site.create(site.order("a")).await.expect("the environment's credentials again");
    })
    .await;
}
