//! Rotation of the sealing key, on rows.

use reeve_domain::audit;
use reeve_domain::seal::rotate::{check_keys, rotate, setting_place};
use reeve_store::setting;
use reeve_testkit::db::on_both;
use reeve_types::Actor;
use serde_json::json;

use crate::{Bench, app_with};

#[tokio::test]
async fn everything_is_sealed_again_and_the_old_key_can_go() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let names: Vec<String> = (0..450).map(|i| format!("secret.{i:04}")).collect();
        let mut tx = bench.app.store.begin().await.unwrap();
        for name in &names {
            let sealed = bench.app.seal.seal(&*bench.app.ids, setting_place(name), &format!("value of {name}"));
            setting::put(&mut tx, name, &sealed, bench.app.now()).await.unwrap();
        }
        setting::put(&mut tx, "plain", "not sealed", bench.app.now()).await.unwrap();
        setting::put(&mut tx, "strange", "s1.k0.AAAA", bench.app.now()).await.unwrap();
        audit::record(&bench.app, &mut tx, &Actor::system(), "thing.do", "x", json!({})).await.unwrap();
        tx.commit().await.unwrap();

        let both = app_with(&bench.db, bench.clock.clone(), &[("k2", 2), ("k1", 1)]);
        let rotated = rotate(&both).await.unwrap();
        assert_eq!((rotated.resealed, rotated.unreadable), (450, vec!["settings.value strange".to_owned()]));
        assert_eq!(rotate(&both).await.unwrap().resealed, 0);

        let new = app_with(&bench.db, bench.clock.clone(), &[("k2", 2)]);
        let mut tx = new.store.read().await.unwrap();
        for name in &names {
            let sealed = setting::get(&mut tx, name).await.unwrap().unwrap();
            assert_eq!(new.seal.open(setting_place(name), &sealed).unwrap().expose(), format!("value of {name}"));
        }
        drop(tx);
        let found = audit::verify(&new, &Actor::system()).await.unwrap();
        assert_eq!((found.ok, found.entries), (true, 2), "{found:?}");

        let newest = app_with(&bench.db, bench.clock.clone(), &[("k3", 3), ("k2", 2)]);
        rotate(&newest).await.unwrap();
        let newest = app_with(&bench.db, bench.clock.clone(), &[("k3", 3)]);
        assert!(audit::verify(&newest, &Actor::system()).await.unwrap().ok);
    })
    .await;
}

#[tokio::test]
async fn another_databases_key_is_noticed() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        check_keys(&bench.app).await.unwrap();
        check_keys(&bench.app).await.unwrap();
        assert!(check_keys(&app_with(&bench.db, bench.clock.clone(), &[("k1", 9)])).await.is_err());
        assert!(check_keys(&app_with(&bench.db, bench.clock.clone(), &[("k2", 2)])).await.is_err());
    })
    .await;
}
