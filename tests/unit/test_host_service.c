/* service/: operations and idempotency keys, which outlive the server; what each owner may have of them. */
/* also: threads */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "service/keys.h"
#include "service/operations.h"
#include "service/refusal_json.h"
#include "service/session_note.h"
#include "service/shelf.h"

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/capsid-service-XXXXXX";
static struct ledger ledger;
static struct operations all;
static struct error e;
static const struct request no_request;

static char *place;
static int place_fd;

static void start_server(void)
{
    place_fd = ledger_take_place(root, &place, &e);
    ck_assert_msg(place_fd >= 0 && ledger_open(&ledger, place, &e) == 0, "%s", e.text);
    operations_open(&all, &ledger);
}

static void stop_server(void)
{
    operations_close(&all);
    ledger_close(&ledger);
    free(place);
    close(place_fd);
}

static void setup(void)
{
    strcpy(root, "/tmp/capsid-service-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
    start_server();
}

static void teardown(void)
{
    stop_server();
    file_remove_tree(root, &e);
}

/* A statement on the ledger, as time or another program would have it. */
static void change(const char *statement)
{
    int64_t now;

    ck_assert_msg(ledger_begin(&ledger, &now, &e) == 0, "%s", e.text);
    ck_assert_msg(records_do(ledger.records, statement, NULL, &e) >= 0, "%s", e.text);
    ck_assert_int_eq(ledger_end(&ledger, 0, &e), 0);
}

static int64_t count(const char *question)
{
    int64_t now, answer;

    ck_assert_int_eq(ledger_begin(&ledger, &now, &e), 0);
    ck_assert_msg(records_ask_number(ledger.records, question, NULL, &answer, &e) == 0, "%s", e.text);
    ck_assert_int_eq(ledger_end(&ledger, 0, &e), 0);
    return answer;
}

static void add(const char *owner, char ret_id[static OPERATION_ID_MAX])
{
    ck_assert_msg(operations_add(&all, OPERATION_RUN, owner, &no_request, 1, ret_id, &e) == 0, "%s", e.text);
}

static void expect_status(const char *owner, const char *id, const char *status, const char *code)
{
    json_t *j = operations_show(&all, owner, id, &e);

    ck_assert_msg(j != NULL, "%s", e.text);
    const char *got = json_string_value(json_object_get(json_object_get(j, "error"), "code"));
    ck_assert_str_eq(json_string_value(json_object_get(j, "status")), status);
    ck_assert_str_eq(got ? got : "", code ? code : "");
    json_decref(j);
}

static bool is_there(const char *owner, const char *id)
{
    struct error why = {0};
    json_t *j = operations_show(&all, owner, id, &why);

    ck_assert(j || why.kind == ERROR_NOT_FOUND);
    json_decref(j);
    return j != NULL;
}

static json_t *refused(enum refusal_kind kind)
{
    const struct refusal r = {.kind = kind, .text = "no"};
    return refusal_reason(&r);
}

START_TEST(a_message_that_quotes_no_text_is_whole)
{
    const struct refusal r = {.kind = REFUSAL_INVALID, .text = "\"\xff\xfe\" is no image: see \xc3"};
    json_t *j = refusal_reason(&r);

    ck_assert_str_eq(json_string_value(json_object_get(j, "message")), "\"??\" is no image: see ?");
    json_decref(j);
}
END_TEST

static enum key_state begin_key(const char *owner, const char *key, const char *request,
                                struct key_answer *ret)
{
    char digest[DIGEST_HEX_SIZE];
    enum key_state state;

    digest_bytes(request, strlen(request), digest);
    ck_assert_msg(keys_begin(&ledger, owner, key, digest, &state, ret, &e) == 0, "%s", e.text);
    return state;
}

/* ---- operations ---------------------------------------------------------------------------------- */

START_TEST(operations_belong_to_their_owner)
{
    char id[OPERATION_ID_MAX], other[OPERATION_ID_MAX];

    ck_assert_int_eq(operations_add(&all, OPERATION_RUN, "a", &no_request, 7, id, &e), 0);
    ck_assert_int_eq(operations_add(&all, OPERATION_IMAGE, "b", &no_request, 8, other, &e), 0);
    ck_assert_uint_eq(operations_find_task(&all, "a", id), 7);
    ck_assert_uint_eq(operations_find_task(&all, "b", id), 0);
    ck_assert(!is_there("b", id));
    expect_status("a", id, "pending", NULL);
    operations_begin(&all, id);
    expect_status("a", id, "running", NULL);
    operations_end(&all, id, false, NULL, refused(REFUSAL_FAILED));
    expect_status("a", id, "failed", "E006");
    ck_assert_uint_eq(operations_find_task(&all, "a", id), 0);
    operations_end(&all, other, true, NULL, refused(REFUSAL_CANCELLED));
    expect_status("b", other, "cancelled", "E014");
    json_t *list = operations_list(&all, "a", &e);
    ck_assert_int_eq(json_integer_value(json_object_get(list, "count")), 1);
    json_decref(list);
    operations_forget(&all, id);
    ck_assert(!is_there("a", id));
}
END_TEST

START_TEST(results_are_there_after_a_restart_and_gone_after_their_hour)
{
    char id[OPERATION_ID_MAX], unfinished[OPERATION_ID_MAX], next[OPERATION_ID_MAX];

    add("a", id);
    operations_end(&all, id, false, json_pack("{s:s}", "stdout", "hello"), NULL);
    stop_server();
    start_server();
    json_t *j = operations_show(&all, "a", id, &e);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "result"), "stdout")), "hello");
    json_decref(j);
    add("a", unfinished);
    change("UPDATE operations SET ended = ended - 3599000000000");
    add("a", next);
    ck_assert(is_there("a", id));
    change("UPDATE operations SET ended = ended - 1000000001");
    add("a", next);
    ck_assert(!is_there("a", id) && is_there("a", unfinished));
}
END_TEST

static void expect_labels(const json_t *operation)
{
    const json_t *labels = json_object_get(operation, "labels");

    ck_assert_uint_eq(json_object_size(labels), 2);
    ck_assert_str_eq(json_string_value(json_object_get(labels, "job")), "7");
    ck_assert_str_eq(json_string_value(json_object_get(labels, "text")), "a=b");
}

START_TEST(labels_are_told_again_after_a_restart)
{
    const char *const labels[] = {"job=7", "text=a=b", NULL};
    const struct request q = {.run.language = "c", .labels = labels};
    char id[OPERATION_ID_MAX], without[OPERATION_ID_MAX];

    ck_assert_int_eq(operations_add(&all, OPERATION_RUN, "a", &q, 7, id, &e), 0);
    stop_server();
    start_server();
    add("a", without);
    json_t *one = operations_show(&all, "a", id, &e), *list = operations_list(&all, "a", &e),
           *operations = json_object_get(list, "operations");
    expect_labels(one);
    expect_labels(json_array_get(operations, 1));
    ck_assert_ptr_null(json_object_get(json_array_get(operations, 0), "labels"));
    json_decref(one);
    json_decref(list);
}
END_TEST

/* Nothing asks the clock that people set. */
START_TEST(the_time_of_day_may_jump)
{
    char id[OPERATION_ID_MAX], next[OPERATION_ID_MAX];

    add("a", id);
    operations_end(&all, id, false, json_true(), NULL);
    change("UPDATE operations SET created = created - 7200000000000, finished = finished - 7200000000000");
    add("a", next);
    ck_assert(is_there("a", id));
    change("UPDATE operations SET created = created + 720000000000000, finished = 1");
    add("a", next);
    ck_assert(is_there("a", id));
}
END_TEST

/* Then its clock begins anew, and the ledger's goes on where it was. */
START_TEST(the_machine_may_be_started_again)
{
    char id[OPERATION_ID_MAX], next[OPERATION_ID_MAX];

    add("a", id);
    operations_end(&all, id, false, json_true(), NULL);
    stop_server();
    start_server();
    /* As if it had been served for 1,000,000 hours, of which the machine cannot be up. */
    change("UPDATE clock SET noted = 3600000000000000000");
    change("UPDATE operations SET ended = 3600000000000000000 - 3590000000000");
    ledger.records = (records_close(ledger.records), NULL); /* without a word, as when it is killed */
    stop_server();
    start_server();
    add("a", next);
    ck_assert(is_there("a", id));
    change("UPDATE operations SET ended = ended - 11000000000");
    add("a", next);
    ck_assert(!is_there("a", id));
    stop_server();
    start_server();
    ck_assert_int_eq(count("SELECT noted > 3600000000000000000 FROM clock"), 1);
}
END_TEST

/* ---- bounds -------------------------------------------------------------------------------------- */

/* That many finished ones of an owner, ids PREFIX0 and so on. */
static void fill(const char *owner, int number)
{
    cleanup_free char *statement =
        text_format("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d - 1)"
                    " INSERT INTO operations (id, owner, kind, created, status, ended)"
                    " SELECT '%s' || i, '%s', 'run', 1, 'succeeded', 1000000000000 + i FROM n",
                    number, owner, owner);

    change(statement);
}

START_TEST(an_owner_who_has_too_many_loses_the_oldest)
{
    char id[OPERATION_ID_MAX];

    fill("b", 5);
    fill("a", OPERATIONS_OWN_MAX);
    add("a", id);
    ck_assert(!is_there("a", "a0") && is_there("a", "a1") && is_there("b", "b0"));
    /* What is not finished stays, and when there is nothing else, no more are taken. */
    change("UPDATE operations SET ended = NULL WHERE owner = 'a'");
    ck_assert_int_lt(operations_add(&all, OPERATION_RUN, "a", &no_request, 1, id, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_int_eq(count("SELECT count(*) FROM operations WHERE owner = 'a'"), OPERATIONS_OWN_MAX);
    add("b", id);
}
END_TEST

START_TEST(who_has_little_loses_nothing_when_all_have_too_many)
{
    char id[OPERATION_ID_MAX], owner[2] = "c";

    fill("a", 3);
    for (; *owner < 'c' + OPERATIONS_ALL_MAX / OPERATIONS_OWN_MAX; ++*owner)
        fill(owner, OPERATIONS_OWN_MAX - (*owner == 'd'));
    for (int i = 0; i < 40; i++)
        add("b", id);
    ck_assert_int_le(count("SELECT count(*) FROM operations"), OPERATIONS_ALL_MAX);
    ck_assert_int_ge(count("SELECT count(*) FROM operations"), OPERATIONS_ALL_MAX - 20);
    ck_assert_int_eq(count("SELECT count(*) FROM operations WHERE owner IN ('a', 'b')"), 43);
    ck_assert_int_eq(count("SELECT max(n) - min(n) FROM (SELECT count(*) AS n FROM operations"
                           " WHERE owner >= 'c' GROUP BY owner)"),
                     1);
}
END_TEST

/* One that ended with size bytes in its result. */
static void end_with(size_t size, const char *owner, char ret_id[static OPERATION_ID_MAX])
{
    char *text = memory_allocate(size + 1);

    memset(text, 'x', size);
    add(owner, ret_id);
    operations_end(&all, ret_id, false, json_pack("{s:o}", "stdout", json_stringn_nocheck(text, size)), NULL);
    free(text);
}

/* The same, to be taken for one of so many bytes. */
static void end_as_if(int64_t bytes, const char *owner, char ret_id[static OPERATION_ID_MAX])
{
    end_with(10, owner, ret_id);
    cleanup_free char *statement =
        text_format("UPDATE operations SET bytes = %lld WHERE id = '%s'", (long long)bytes, ret_id);
    change(statement);
}

static void expect_result(const char *id, bool kept)
{
    json_t *j = operations_show(&all, "a", id, &e);

    ck_assert_str_eq(json_string_value(json_object_get(j, "status")), "succeeded");
    ck_assert(json_is_object(json_object_get(j, "result")) == kept);
    ck_assert(json_is_true(json_object_get(j, "result_forgotten")) == !kept);
    json_decref(j);
}

START_TEST(too_many_bytes_of_results_forget_the_oldest)
{
    const int64_t size = OPERATIONS_OWN_BYTES / 4;
    char ids[6][OPERATION_ID_MAX], other[OPERATION_ID_MAX];

    end_as_if(OPERATIONS_OWN_BYTES - (1 << 20), "b", other);
    for (int i = 0; i < 4; i++)
        end_as_if(size, "a", ids[i]);
    expect_result(ids[0], true);
    end_as_if(2 * size, "a",
              ids[4]); /* makes room for what it seems to have, as one more byte does not fit */
    expect_result(ids[0], false);
    for (int i = 1; i < 5; i++)
        expect_result(ids[i], true);
    end_with(OPERATIONS_OWN_BYTES, "a", ids[5]); /* too large alone, but others go no more than they had to */
    expect_result(ids[5], false);
    expect_result(ids[1], false);
    expect_result(ids[2], true);
    ck_assert_int_eq(count("SELECT forgotten FROM operations WHERE owner = 'b'"), 0);
    /* All of them: the one with the most gives. */
    change("UPDATE operations SET bytes = 10 WHERE owner = 'a'");
    for (char owner[2] = "c"; *owner < 'g'; ++*owner)
        end_as_if(OPERATIONS_OWN_BYTES - (*owner == 'd' ? 0 : 1 << 20), owner, other);
    stop_server(); /* which did not see them grow */
    start_server();
    end_with(10, "a", other);
    expect_result(ids[2], true);
    ck_assert_int_eq(count("SELECT count(*) FROM operations WHERE forgotten AND owner >= 'b'"), 1);
    ck_assert_int_eq(count("SELECT count(*) FROM operations WHERE forgotten AND owner = 'd'"), 1);
}
END_TEST

/* ---- the shelf ----------------------------------------------------------------------------------- */

static int count_files(void)
{
    cleanup_dir DIR *dir = opendir(place);
    int files = 0;

    for (struct dirent *d; (d = readdir(dir));)
        files += strchr(d->d_name, '-') && !strchr(d->d_name, '.');
    return files;
}

START_TEST(large_results_are_files_as_long_as_they_are_kept)
{
    cleanup_free char *file = text_format("%s/service/operations-3", root);
    char ids[3][OPERATION_ID_MAX], next[OPERATION_ID_MAX];

    for (int i = 0; i < 3; i++)
        end_with(SHELF_INLINE_MAX + (size_t)i, "a", ids[i]);
    end_with(100, "a", next);
    ck_assert_int_eq(count_files(), 3);
    stop_server();
    cleanup_free char *stray = text_format("cd %s/service && touch operations-99 operations-x keys-1", root);
    ck_assert_int_eq(system(stray), 0);
    start_server();
    ck_assert_int_eq(count_files(), 4); /* operations-x is not ours */
    cleanup_free char *other = text_format("%s/operations-x", place);
    ck_assert_int_eq(unlink(other), 0);
    json_t *j = operations_show(&all, "a", ids[2], &e);
    ck_assert_uint_eq(json_string_length(json_object_get(json_object_get(j, "result"), "stdout")),
                      SHELF_INLINE_MAX + 2);
    json_decref(j);
    operations_forget(&all, ids[0]);
    ck_assert_int_eq(count_files(), 2);
    ck_assert_int_eq(unlink(file), 0);
    expect_result(ids[1], true);
    expect_result(ids[2], false);
    change("UPDATE operations SET ended = ended - 3601000000000");
    add("a", next);
    ck_assert_int_eq(count_files(), 0);
}
END_TEST

START_TEST(large_answers_are_kept_for_their_keys)
{
    struct key_answer got, given = {.status = 200};

    given.body.data = memory_allocate(given.body.size = 100000);
    memset(given.body.data, 'x', given.body.size);
    ck_assert_int_eq(begin_key("a", "key", "1", &got), KEY_FIRST);
    keys_end(&ledger, "a", "key", &given);
    ck_assert_int_eq(count_files(), 1);
    ck_assert_int_eq(begin_key("a", "key", "1", &got), KEY_ANSWERED);
    ck_assert(got.body.size == 100000 && memcmp(got.body.data, given.body.data, 100000) == 0);
    buffer_free(&got.body);
    buffer_free(&given.body);
}
END_TEST

/* ---- servers that die ---------------------------------------------------------------------------- */

/* Has begun one operation and one key when it says so; then it waits to be killed. */
static pid_t start_another(char ret_id[static OPERATION_ID_MAX])
{
    struct key_answer answer;
    int told[2];

    ck_assert_int_eq(pipe(told), 0);
    pid_t pid = fork();
    if (pid == 0) {
        start_server();
        add("a", ret_id);
        operations_begin(&all, ret_id);
        if (begin_key("a", "key", "1", &answer) == KEY_FIRST &&
            write(told[1], ret_id, OPERATION_ID_MAX) == OPERATION_ID_MAX)
            pause();
        _exit(1);
    }
    close(told[1]);
    ck_assert_int_eq(read(told[0], ret_id, OPERATION_ID_MAX), OPERATION_ID_MAX);
    close(told[0]);
    return pid;
}

START_TEST(what_a_dead_server_worked_on_is_lost_and_said_to_be)
{
    char id[OPERATION_ID_MAX];
    struct key_answer answer;

    stop_server();
    pid_t pid = start_another(id);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    start_server();
    expect_status("a", id, "failed", "E022");
    ck_assert_uint_eq(operations_find_task(&all, "a", id), 0);
    ck_assert_int_eq(begin_key("a", "key", "1", &answer), KEY_FIRST);
}
END_TEST

START_TEST(each_server_has_a_place_of_its_own)
{
    char id[OPERATION_ID_MAX], of_other[OPERATION_ID_MAX];
    char *second = NULL;

    add("a", id);
    pid_t pid = start_another(of_other);
    ck_assert(is_there("a", id) && !is_there("a", of_other));
    int fd = ledger_take_place(root, &second, &e);
    ck_assert(fd >= 0 && strcmp(strrchr(second, '/'), "/service-3") == 0);
    close(fd);
    free(second);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    fd = ledger_take_place(root, &second, &e);
    ck_assert(fd >= 0 && strcmp(strrchr(second, '/'), "/service-2") == 0);
    close(fd);
    free(second);
    expect_status("a", id, "pending", NULL);
}
END_TEST

/* ---- a disk that is full ------------------------------------------------------------------------- */

/* As if the disk had no room: no file becomes longer than that. */
static void limit_files(rlim_t bytes)
{
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(what_cannot_be_written_is_written_later)
{
    char id[OPERATION_ID_MAX], refused_one[OPERATION_ID_MAX];
    struct key_answer got, given = {.status = 200};
    char digest[DIGEST_HEX_SIZE];
    enum key_state state;

    add("a", id);
    ck_assert_int_eq(begin_key("a", "key", "1", &got), KEY_FIRST);
    limit_files(1);
    operations_end(&all, id, false, json_true(), NULL);
    keys_end(&ledger, "a", "key", &given);
    ck_assert_int_lt(operations_add(&all, OPERATION_RUN, "a", &no_request, 1, refused_one, &e), 0);
    digest_bytes("1", 1, digest);
    ck_assert_int_lt(keys_begin(&ledger, "a", "another", digest, &state, &got, &e), 0);
    expect_status("a", id, "pending", NULL);
    ck_assert_uint_eq(operations_find_task(&all, "a", id), 0);
    limit_files(RLIM_INFINITY);
    expect_status("a", id, "failed", "E006");
    ck_assert_int_eq(records_check(ledger.records, &e), 0);
    add("a", id);
    operations_end(&all, id, false, json_true(), NULL);
    expect_status("a", id, "succeeded", NULL);
}
END_TEST

START_TEST(a_result_without_room_is_forgotten_and_the_rest_kept)
{
    char id[OPERATION_ID_MAX];

    change("UPDATE clock SET noted = noted"); /* the log has its length */
    limit_files(150000);
    end_with(300000, "a", id);
    limit_files(RLIM_INFINITY);
    expect_result(id, false);
    ck_assert_int_eq(count_files(), 0);
}
END_TEST

/* ---- keys ---------------------------------------------------------------------------------------- */

START_TEST(a_key_answers_once)
{
    struct key_answer got, given = {.status = 200, .location = "/x"};

    ck_assert_int_eq(begin_key("a", "key", "1", &got), KEY_FIRST);
    ck_assert_int_eq(begin_key("a", "key", "1", &got), KEY_AT_WORK);
    ck_assert_int_eq(begin_key("b", "key", "2", &got), KEY_FIRST); /* another owner's */
    buffer_add(&given.body, "yes", 3);
    keys_end(&ledger, "a", "key", &given);
    stop_server();
    start_server();
    ck_assert_int_eq(begin_key("a", "key", "1", &got), KEY_ANSWERED);
    ck_assert(got.status == 200 && got.body.size == 3 && memcmp(got.body.data, "yes", 3) == 0);
    ck_assert_str_eq(got.location, "/x");
    buffer_free(&got.body);
    ck_assert_int_eq(begin_key("a", "key", "2", &got), KEY_OTHERS);
    ck_assert_int_eq(begin_key("b", "key", "2", &got), KEY_FIRST); /* its server has ended */
    keys_end(&ledger, "b", "key", NULL);
    ck_assert_int_eq(begin_key("b", "key", "3", &got), KEY_FIRST); /* it may be tried again */
    change("UPDATE keys SET ended = ended - 3601000000000");
    ck_assert_int_eq(begin_key("a", "key", "2", &got), KEY_FIRST);
    ck_assert_int_eq(begin_key("b", "key", "3", &got), KEY_AT_WORK);
    buffer_free(&given.body);
}
END_TEST

START_TEST(an_owner_with_too_many_keys_forgets_his_own)
{
    struct key_answer got, given = {.status = 200};
    char key[16];

    ck_assert_int_eq(begin_key("b", "0", "1", &got), KEY_FIRST);
    keys_end(&ledger, "b", "0", &given);
    for (int i = 0; i < KEYS_OWN_MAX + 1; i++) {
        snprintf(key, sizeof(key), "%d", i);
        ck_assert_int_eq(begin_key("a", key, "1", &got), KEY_FIRST);
        keys_end(&ledger, "a", key, &given);
    }
    ck_assert_int_eq(begin_key("a", "0", "1", &got), KEY_FIRST);
    ck_assert_int_eq(begin_key("a", "9", "1", &got), KEY_ANSWERED);
    buffer_free(&got.body);
    ck_assert_int_eq(begin_key("b", "0", "1", &got), KEY_ANSWERED);
    buffer_free(&got.body);
}
END_TEST

/* ---- sessions ------------------------------------------------------------------------------------ */

START_TEST(who_comes_back_for_a_session_is_told)
{
    session_note_begin(&ledger, "a", "one");
    session_note_begin(&ledger, "a", "two");
    session_note_end(&ledger, "two");
    ck_assert(!session_note_lost(&ledger, "a", "one"));
    stop_server();
    start_server();
    ck_assert(session_note_lost(&ledger, "a", "one"));
    ck_assert(!session_note_lost(&ledger, "b", "one") && !session_note_lost(&ledger, "a", "two"));
    change("UPDATE sessions SET ended = ended - 600000000001");
    ck_assert(!session_note_lost(&ledger, "a", "one"));
    session_note_begin(&ledger, "a", "three");
    ck_assert_int_eq(count("SELECT count(*) FROM sessions"), 1);
    session_note_begin(NULL, "a", "one");
    session_note_end(NULL, "one");
    ck_assert(!session_note_lost(NULL, "a", "one"));
}
END_TEST

/* ---- threads ------------------------------------------------------------------------------------- */

enum { WORKERS = 4, EACH = 25 };

static void *work(void *owner)
{
    char id[OPERATION_ID_MAX], digest[DIGEST_HEX_SIZE];
    struct key_answer answer = {.status = 200}, got;
    enum key_state state;
    struct error why = {0};

    digest_bytes("1", 1, digest);
    for (int i = 0; i < EACH; i++) {
        ck_assert_int_eq(operations_add(&all, OPERATION_RUN, owner, &no_request, 1, id, &why), 0);
        operations_begin(&all, id);
        json_decref(operations_show(&all, owner, id, &why));
        operations_end(&all, id, false, json_true(), NULL);
        ck_assert_int_eq(keys_begin(&ledger, owner, id, digest, &state, &got, &why), 0);
        keys_end(&ledger, owner, id, &answer);
    }
    return NULL;
}

START_TEST(threads_share_a_ledger)
{
    static char owners[WORKERS][2] = {"a", "b", "c", "d"};
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, owners[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    const struct ledger_use use = ledger_measure(&ledger, "operations"),
                            keys = ledger_measure(&ledger, "keys");
    ck_assert(use.unfinished == 0 && use.finished == WORKERS * EACH && use.bytes == 4 * WORKERS * EACH);
    ck_assert(keys.unfinished == 0 && keys.finished == WORKERS * EACH && keys.bytes == 0);
}
END_TEST

/* ---- killed at any moment ------------------------------------------------------------------------ */

static void serve_until_killed(int told)
{
    static char large[30000];
    char id[OPERATION_ID_MAX];

    memset(large, 'x', sizeof(large));
    start_server();
    for (size_t n = 0;; n++) {
        add("a", id);
        operations_begin(&all, id);
        json_t *result = json_pack("{s:s%}", "stdout", large, n % 2 ? sizeof(large) : 30);
        operations_end(&all, id, false, result, NULL);
        if (write(told, id, sizeof(id)) != sizeof(id))
            _exit(1);
    }
}

START_TEST(a_server_may_be_killed_at_any_moment)
{
    char id[OPERATION_ID_MAX];
    uint64_t random = 7;

    stop_server();
    for (int round = 0; round < 25; round++) {
        int told[2], wanted = 1 + (int)(unit_random(&random) % 8);
        ck_assert_int_eq(pipe(told), 0);
        pid_t pid = fork();
        if (pid == 0)
            serve_until_killed(told[1]);
        close(told[1]);
        while (wanted-- > 0)
            ck_assert_int_eq(read(told[0], id, sizeof(id)), sizeof(id));
        usleep(unit_random(&random) % 3000);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        close(told[0]);
        start_server();
        ck_assert_int_eq(records_check(ledger.records, &e), 0);
        expect_status("a", id, "succeeded", NULL);
        expect_result(id, true);
        ck_assert_int_eq(count("SELECT count(*) FROM operations WHERE ended IS NULL"), 0);
        ck_assert_int_le(count("SELECT count(*) FROM operations WHERE status = 'failed'"), round + 1);
        ck_assert_int_eq(count_files(), count("SELECT count(*) FROM operations WHERE filed"));
        stop_server();
    }
    start_server();
}
END_TEST

/* ---- care ---------------------------------------------------------------------------------------- */

struct expectation {
    enum ledger_state state;
    const char *words;
    unsigned count;
};

static void compare_state(void *context, enum ledger_state state, const char *path, const char *why)
{
    struct expectation *x = context;

    x->count++;
    ck_assert_msg(state == x->state && strstr(why, x->words) && strstr(path, "/service"), "%d %s", state,
                  why);
}

static void expect_examined(bool repair, enum ledger_state state, const char *words)
{
    struct expectation x = {state, words, 0};

    ledger_examine(root, repair, compare_state, &x);
    ck_assert_uint_eq(x.count, 1);
}

START_TEST(a_damaged_ledger_is_put_aside)
{
    cleanup_free char *file = text_format("%s/service/records.db", root);
    cleanup_free char *directory = text_format("%s/service", root);
    cleanup_free char *log = text_format("%s-wal", file);

    stop_server();
    expect_examined(false, LEDGER_SOUND, "");
    ck_assert(unlink(log) == 0 && truncate(file, 0) == 0 && truncate(file, 5000) == 0);
    expect_examined(false, LEDGER_DAMAGED, "doctor --repair");
    ck_assert_int_lt(ledger_open(&ledger, directory, &e), 0);
    e = (struct error){0};
    expect_examined(true, LEDGER_REPAIRED, "records.db.damaged-");
    expect_examined(true, LEDGER_SOUND, "");
    start_server();
    expect_examined(true, LEDGER_IN_USE, "");
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("service");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, operations_belong_to_their_owner);
    unit_add(&u, results_are_there_after_a_restart_and_gone_after_their_hour);
    unit_add(&u, labels_are_told_again_after_a_restart);
    unit_add(&u, the_time_of_day_may_jump);
    unit_add(&u, the_machine_may_be_started_again);
    unit_add(&u, an_owner_who_has_too_many_loses_the_oldest);
    unit_add(&u, who_has_little_loses_nothing_when_all_have_too_many);
    unit_add(&u, too_many_bytes_of_results_forget_the_oldest);
    unit_add(&u, large_results_are_files_as_long_as_they_are_kept);
    unit_add(&u, large_answers_are_kept_for_their_keys);
    unit_add(&u, what_a_dead_server_worked_on_is_lost_and_said_to_be);
    unit_add(&u, what_cannot_be_written_is_written_later);
    unit_add(&u, a_result_without_room_is_forgotten_and_the_rest_kept);
    unit_add(&u, each_server_has_a_place_of_its_own);
    unit_add(&u, a_message_that_quotes_no_text_is_whole);
    unit_add(&u, a_key_answers_once);
    unit_add(&u, an_owner_with_too_many_keys_forgets_his_own);
    unit_add(&u, who_comes_back_for_a_session_is_told);
    unit_add(&u, threads_share_a_ledger);
    unit_add(&u, a_server_may_be_killed_at_any_moment);
    unit_add(&u, a_damaged_ledger_is_put_aside);
    return unit_end(&u);
}
