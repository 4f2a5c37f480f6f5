/* service/schema: what is true of every field of schema.def, and that what is printed is what is taken. */
#include "base/cleanup.h"
#include "service/request_parse.h"
#include "service/result_json.h"
#include "unit.h"

#include <string.h>

static struct error e;
static struct refusal refusal;

START_TEST(every_field_has_one_name_and_words)
{
    for (enum schema_object i = SCHEMA_OBJECT_NONE + 1; i < SCHEMA_OBJECTS_COUNT; i++) {
        json_t *seen = json_object();
        schema_each(i, f)
        {
            ck_assert_msg(!json_object_get(seen, f->name), "%s twice", f->name);
            ck_assert_msg(f->words[0] && !strchr(f->words, '\n') && f->words[strlen(f->words) - 1] != '.',
                          "%s", f->name);
            json_object_set_new(seen, f->name, json_true());
            if (f->also)
                json_object_set_new(seen, f->also, json_true());
        }
        json_decref(seen);
    }
}
END_TEST

START_TEST(every_object_is_described)
{
    for (enum schema_object i = SCHEMA_OBJECT_NONE + 1; i < SCHEMA_OBJECTS_COUNT; i++) {
        json_t *j = schema_describe(i), *properties = json_object_get(j, "properties"), *v;
        size_t k;

        schema_each(i, f)
        {
            ck_assert_ptr_nonnull(json_object_get(properties, f->name));
            ck_assert(!f->also || json_object_get(properties, f->also));
        }
        json_array_foreach(json_object_get(j, "required"), k, v)
        {
            ck_assert_ptr_nonnull(json_object_get(properties, json_string_value(v)));
        }
        json_decref(j);
    }
}
END_TEST

/* Whether a number is taken, in an object that has all that it needs. */
static bool takes(enum schema_object object, const struct schema_field *f, uint64_t n,
                  const struct request_limits *limits)
{
    struct request q = {0};
    json_t *j = json_pack("{s:I}", f->name, (json_int_t)n);

    schema_each(object, other) if (other->required) json_object_set_new(j, other->name, json_string("x"));
    bool taken = schema_take(object, &q, j, "", limits, &refusal) == 0;
    ck_assert(!taken || *(uint64_t *)((char *)&q + f->offset) == n);
    ck_assert(taken || strstr(refusal.text, f->name));
    request_done(&q);
    json_decref(j);
    return taken;
}

START_TEST(every_number_has_its_bounds)
{
    const struct request_limits limits = {
        .timeout = 100, .shape = {.memory_mib = 100, .vcpus = 100, .disk_mib = 100}, .output = 100};
    int count = 0;

    for (enum schema_object i = SCHEMA_OBJECT_NONE + 1; i < SCHEMA_OBJECTS_COUNT; i++) {
        schema_each(i, f)
        {
            if (!schema_objects[i].taken || (f->kind != SCHEMA_NUMBER && f->kind != SCHEMA_SIZE))
                continue;
            ck_assert(takes(i, f, f->min, NULL) && takes(i, f, f->max, NULL));
            ck_assert(!takes(i, f, f->min - 1, NULL) && !takes(i, f, f->max + 1, NULL));
            ck_assert(takes(i, f, 100, &limits) && takes(i, f, 101, &limits) == !f->limited);
            count++;
        }
    }
    ck_assert_int_gt(count, 10);
}
END_TEST

/* As a server would, of what a client made of it. */
static json_t *again(const json_t *j)
{
    cleanup_free char *text = json_dumps(j, JSON_COMPACT);
    json_t *ret = json_object();
    struct request q;

    ck_assert_msg(request_parse(&q, SCHEMA_OBJECT_RUN, text, strlen(text), NULL, NULL, &refusal) == 0, "%s",
                  refusal.text);
    ck_assert_int_eq(schema_put(ret, SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, &q, &e), 0);
    request_done(&q);
    return ret;
}

START_TEST(what_is_put_is_what_is_taken)
{
    const char *const words[] = {"a", "", NULL}, *const pairs[] = {"A=b=c", "B=", NULL};
    struct request q = {.run = {.language = "c",
                                .args = words,
                                .env = pairs,
                                .cwd = "x",
                                .timeout = 3,
                                .build_timeout = 2,
                                .shape = {64, 2, 16},
                                .cold = true,
                                .unprimed = true},
                        .max_output = 7,
                        .detached = true};
    json_t *j = json_object();

    buffer_add(&q.code, "\0\1\2", 3);
    ck_assert_int_eq(schema_put(j, SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, &q, &e), 0);
    ck_assert_uint_eq(json_object_size(j), 15); /* with the encoding of the code */
    json_t *second = again(j);
    json_object_del(j, "code"); /* it is among the sources now */
    json_object_del(j, "code_encoding");
    ck_assert(json_equal(j, second));
    json_decref(j);
    json_decref(second);
    buffer_free(&q.code);
}
END_TEST

START_TEST(a_text_that_is_none_is_refused)
{
    const char *const words[] = {"\xff", NULL};
    struct request q = {.run.args = words}, named = {.run.language = "\xff"};
    json_t *j = json_object();

    ck_assert_int_eq(schema_put(j, SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, &q, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "args is not UTF-8"));
    ck_assert_int_eq(schema_put(j, SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, &named, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "--lang is not UTF-8"));
    json_decref(j);
}
END_TEST

START_TEST(options_add_to_a_map)
{
    const struct schema_field *f =
        schema_find(SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, offsetof(struct request, run.env));
    struct request q = {0};

    ck_assert_int_eq(schema_add_pair(f, &q.run.env, "A=b", &e), 0);
    ck_assert_int_eq(schema_add_pair(f, &q.run.env, "C", &e), -1);
    ck_assert_int_eq(schema_add_pair(f, &q.run.env, "1=b", &e), -1);
    for (size_t i = 1; i < f->entries; i++)
        ck_assert_int_eq(schema_add_pair(f, &q.run.env, "D=", &e), 0);
    ck_assert_int_eq(schema_add_pair(f, &q.run.env, "E=", &e), -1);
    ck_assert_str_eq(q.run.env[0], "A=b");
    ck_assert_ptr_null(q.run.env[f->entries]);
    request_done(&q);
}
END_TEST

#define OF_LABEL "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
    const char *text;
    bool fine;
} labels[] = {
    {"{}", true},
    {"{\"job\": \"7\", \"a.b-c_d+e\": \"any text, \u00e4=\"}", true},
    {"{\"" OF_LABEL "\": \"\"}", true},
    {"{\"" OF_LABEL "4\": \"\"}", false},
    {"{\"\": \"a\"}", false},
    {"{\"a=b\": \"a\"}", false},
    {"{\"a b\": \"a\"}", false},
    {"{\"a\": 1}", false},
    {"[]", false},
};

START_TEST(labels_have_names)
{
    cleanup_free char *text =
        text_format("{\"language\": \"c\", \"code\": \"\", \"labels\": %s}", labels[_i].text);
    struct request q;

    ck_assert_int_eq(request_parse(&q, SCHEMA_OBJECT_RUN, text, strlen(text), NULL, NULL, &refusal),
                     labels[_i].fine ? 0 : -1);
    request_done(&q);
}
END_TEST

static json_t *many_labels(size_t count, size_t size)
{
    cleanup_free char *value = memory_allocate(size + 1);
    json_t *all = json_object();

    memset(value, 'x', size);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *name = text_format("n%02zu", i);
        json_object_set_new(all, name, json_string(value));
    }
    return json_pack("{s:s, s:s, s:o}", "language", "c", "code", "", "labels", all);
}

START_TEST(labels_are_bounded)
{
    const size_t sizes[][3] = {{16, 250, true}, {17, 1, false}, {16, 252, false}, {1, 4000, true}};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        json_t *j = many_labels(sizes[i][0], sizes[i][1]);
        cleanup_free char *text = json_dumps(j, 0);
        struct request q;
        ck_assert_int_eq(request_parse(&q, SCHEMA_OBJECT_RUN, text, strlen(text), NULL, NULL, &refusal),
                         sizes[i][2] ? 0 : -1);
        request_done(&q);
        json_decref(j);
    }
}
END_TEST

START_TEST(a_result_tells_the_labels)
{
    const enum schema_object objects[] = {SCHEMA_OBJECT_RESULT, SCHEMA_OBJECT_API_RESULT,
                                          SCHEMA_OBJECT_STREAM_END};
    const char *const list[] = {"job=7", "a=b=c", NULL};
    const struct run_result run = {.run = {.end = RUN_EXITED}};
    struct run_output outputs[2] = {0};
    struct request q = {.labels = list};
    json_t *want = json_pack("{s:s, s:s}", "job", "7", "a", "b=c");

    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        q.labels = list;
        json_t *j = result_json(objects[i], &q, &run, "t", outputs);
        ck_assert(json_equal(json_object_get(j, "labels"), want));
        json_decref(j);
        q.labels = NULL;
        j = result_json(objects[i], &q, &run, "t", outputs);
        ck_assert_ptr_null(json_object_get(j, "labels"));
        json_decref(j);
    }
    json_decref(want);
}
END_TEST

static const struct {
    const char *text;
    int exit_code; /* -1: it is no result */
    enum run_end end;
} answers[] = {
    {"{\"exit_code\": 3, \"end\": \"exited\", \"note\": \"x\", \"new\": []}", 3, RUN_EXITED},
    {"{\"exit_code\": 255, \"end\": \"timed_out\"}", 255, RUN_TIMED_OUT},
    {"{\"exit_code\": 0, \"end\": \"of the future\"}", 0, RUN_NONE},
    {"{\"exit_code\": 256, \"end\": \"exited\"}", -1, 0},
    {"{\"exit_code\": -1, \"end\": \"exited\"}", -1, 0},
    {"{\"exit_code\": \"0\", \"end\": \"exited\"}", -1, 0},
    {"{\"exit_code\": 0, \"end\": 1}", -1, 0},
    {"{\"exit_code\": 0}", -1, 0},
    {"{\"end\": \"exited\"}", -1, 0},
    {"{\"exit_code\": 0, \"end\": \"exited\", \"primed\": 1}", -1, 0},
    {"[]", -1, 0},
};

START_TEST(a_result_of_others_is_read)
{
    struct result r;
    json_t *j = json_loads(answers[_i].text, 0, NULL);

    int result = result_read(SCHEMA_OBJECT_API_RESULT, j, &r);
    ck_assert_int_eq(result, answers[_i].exit_code < 0 ? -1 : 0);
    ck_assert(result < 0 || (r.last.exit_code == answers[_i].exit_code && r.last.end == answers[_i].end));
    json_decref(j);
}
END_TEST

START_TEST(a_result_is_read_as_it_was_printed)
{
    const struct run_result run = {
        .run = {.end = RUN_SIGNALLED, .exit_code = 137, .signal = 9, .ns = 1500000}, .load_ns = 209000000};
    const struct request q = {.run.language = "c"};
    struct run_output outputs[2] = {0};
    struct result r;

    json_t *j = result_json(SCHEMA_OBJECT_API_RESULT, &q, &run, "t", outputs);
    ck_assert_int_eq(result_read(SCHEMA_OBJECT_API_RESULT, j, &r), 0);
    ck_assert(r.last.end == RUN_SIGNALLED && r.last.exit_code == 137 && r.status == RESULT_STATUS_ERROR);
    ck_assert_str_eq(json_string_value(json_object_get(j, "signal")), "SIGKILL");
    ck_assert_str_eq(json_string_value(json_object_get(j, "exec_time")), "1.5ms");
    ck_assert_str_eq(json_string_value(json_object_get(j, "load_time")), "209ms");
    ck_assert_int_eq(json_integer_value(json_object_get(j, "executionTime")), 2);
    ck_assert(json_is_null(json_object_get(j, "compile")) && json_is_null(json_object_get(j, "exception")));
    result_trim(j);
    json_t *own = result_json(SCHEMA_OBJECT_RESULT, &q, &run, "t", outputs);
    ck_assert(json_equal(j, own));
    json_decref(j);
    json_decref(own);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_schema");

    unit_add(&u, every_field_has_one_name_and_words);
    unit_add(&u, every_object_is_described);
    unit_add(&u, every_number_has_its_bounds);
    unit_add(&u, what_is_put_is_what_is_taken);
    unit_add(&u, a_text_that_is_none_is_refused);
    unit_add(&u, options_add_to_a_map);
    unit_add_loop(&u, a_result_of_others_is_read, sizeof(answers) / sizeof(answers[0]));
    unit_add(&u, a_result_is_read_as_it_was_printed);
    unit_add_loop(&u, labels_have_names, sizeof(labels) / sizeof(labels[0]));
    unit_add(&u, labels_are_bounded);
    unit_add(&u, a_result_tells_the_labels);
    return unit_end(&u);
}
