//! One suite of behaviour, run against both engines.
//!
//! On SQLite every function is a test of its own. On PostgreSQL they are one test, so that they share one server; it is
//! the server that `BASTIDE_TEST_POSTGRES` names, or a private one.

// Only test functions are excused from these by the configuration, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod suite;
mod support;

use support::Database;
use support::cluster::Cluster;

macro_rules! suite {
    ($($file:ident: $($name:ident),+ $(,)?;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::suite::$file::$name(&super::Database::sqlite()).await;
                }
            )+)+
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres() {
            let cluster = match Cluster::start().await {
                Ok(cluster) => cluster,
                Err(reason) => {
                    eprintln!("SKIP: the store's suite did not run on PostgreSQL: {reason}");
                    return;
                }
            };
            $($(
                eprintln!("postgres: {}", stringify!($name));
                let database = cluster.database(stringify!($name)).await;
                suite::$file::$name(&database).await;
            )+)+
        }
    };
}

suite! {
    resources:
        a_resource_comes_back_as_it_was_committed,
        a_second_put_keeps_who_made_it_and_changes_the_rest,
        a_put_never_replaces_another_incarnation,
        pages_follow_each_other_in_the_order_of_bytes,
        every_resource_is_found_whether_or_not_the_last_page_is_full,
        lists_narrow_by_type_name_listing_and_tag,
        children_of_a_parent_are_a_type_under_a_prefix,
        tags_are_counted_by_name_in_any_case_and_by_exact_value,
        deleting_takes_tags_and_secrets_along,
        a_nul_character_is_refused_alike_everywhere,
        a_page_takes_the_same_time_however_much_there_is;
    records:
        a_record_comes_back_and_is_replaced_whole,
        records_are_listed_by_kind_and_owner_in_pages,
        several_records_and_resources_are_read_at_once,
        what_holds_and_what_is_held_is_found_through_others,
        records_are_deleted_one_by_one_or_by_owner,
        an_expired_record_is_as_if_it_were_not_there,
        a_sweep_finds_thousands_and_busy_writers_sweep_by_themselves,
        operations_are_durable_until_they_are_over,
        secrets_are_kept_by_incarnation_and_field;
    audit:
        entries_come_back_in_order_each_tied_to_the_one_before,
        a_write_that_conflicts_leaves_no_entry,
        any_change_to_the_chain_is_named_by_its_first_bad_number,
        a_long_chain_is_walked_while_it_grows,
        a_single_changed_byte_is_named_by_its_number,
        a_checkpoint_shows_what_the_head_no_longer_does,
        a_cut_chain_is_provable_from_its_cut_on,
        what_access_changes_were_about_is_told_while_it_is_fresh;
    commits:
        the_first_failed_expectation_is_named_and_nothing_is_written,
        every_commit_wakes_those_who_follow_revisions,
        the_access_epoch_guards_decisions,
        many_clients_leave_what_a_single_one_would_have,
        a_caller_that_leaves_loses_nothing_and_leaves_no_half,
        a_closed_store_has_finished_its_queue_and_says_that_it_is_closed;
    model:
        expectations_and_changes_follow_the_model, writes_done_together_follow_the_model_as_well;
    schema:
        opening_again_changes_nothing,
        two_processes_may_make_the_database_at_once,
        a_database_of_version_one_is_brought_up_to_date_with_its_rows,
        a_newer_database_is_refused_with_a_sentence_and_left_alone;
}
