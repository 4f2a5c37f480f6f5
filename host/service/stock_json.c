#include "service/stock_json.h"

static const struct {
    enum schema_struct of;
    enum schema_object one, all;
} kinds[STOCK_KINDS_COUNT] = {
    [STOCK_LANGUAGE] = {SCHEMA_OF_LANGUAGE, SCHEMA_OBJECT_LANGUAGE, SCHEMA_OBJECT_LANGUAGES},
    [STOCK_IMAGE] = {SCHEMA_OF_IMAGE, SCHEMA_OBJECT_SHOWN_IMAGE, SCHEMA_OBJECT_IMAGES},
    [STOCK_RECORD] = {SCHEMA_OF_RECORD, SCHEMA_OBJECT_IMAGE_RECORD, SCHEMA_OBJECT_IMAGE_RECORDS},
    [STOCK_SNAPSHOT] = {SCHEMA_OF_SNAPSHOT, SCHEMA_OBJECT_SHOWN_SNAPSHOT, SCHEMA_OBJECT_SNAPSHOTS},
};

json_t *stock_json_one(enum schema_object object, struct stock *s, struct error *e)
{
    json_t *j = NULL;

    if (s->count > 0)
        j = schema_json(object, kinds[s->kind].of, stock_row(s, 0), e);
    else
        error_set(e, ERROR_GENERAL, "the server's other part told of nothing");
    stock_done(s);
    return j;
}

json_t *stock_json_all(struct stock *s, struct error *e)
{
    enum schema_object all = kinds[s->kind].all;
    json_t *items = json_array();
    int result = 0;

    for (size_t i = 0; i < s->count && result == 0; i++)
        result = json_array_append_new(
            items, schema_json(kinds[s->kind].one, kinds[s->kind].of, stock_row(s, i), e));
    stock_done(s);
    if (result == 0)
        return schema_list(all, items);
    json_decref(items);
    return NULL;
}
