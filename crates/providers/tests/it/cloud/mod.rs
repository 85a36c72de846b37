//! One contract, stamped on every cloud; what only one of them has stands in its own file.

mod aws;
mod contract;
mod contract_faults;
mod hetzner;
mod judges;
mod python;
mod real;
mod stage;
mod upcloud;

/// Stamps the contract on a stage.
macro_rules! stamp {
    ($stage:ty: $($suite:ident::{$($test:ident),* $(,)?}),* $(,)?) => {$($(
        #[tokio::test]
        async fn $test() {
            let stage = <$stage as crate::cloud::stage::Stage>::open().await;
            crate::cloud::$suite::$test(&stage).await;
        }
    )*)*};
    ($stage:ty) => {
        crate::cloud::stamp!($stage:
            contract::{
                the_catalogue_names_what_can_be_ordered,
                a_check_changes_nothing,
                a_servers_life,
                a_repeated_order_is_the_same_order,
                a_running_server_is_deleted_with_its_disks,
                a_missing_server,
                unknown_parts_of_an_order_are_named,
                a_wrong_order_is_refused_before_it_is_sent,
                lists_go_by_label_and_over_pages,
                many_orders_make_few_calls,
            },
            contract_faults::{
                an_order_whose_answer_is_lost_is_found_again,
                an_order_that_times_out_is_found_again,
                a_call_that_never_arrived_is_told_from_one_that_did,
                refused_credentials,
                a_rate_limit_is_kept,
                errors_of_the_vendor_tell_whether_it_may_have_worked,
                unreadable_answers_are_errors,
                an_endless_answer_is_cut,
                no_more_calls_at_once_than_allowed,
            },
        );
    };
}
pub(crate) use stamp;
