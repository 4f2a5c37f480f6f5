#include "core/provide.h"

#include "base/cleanup.h"
#include "image/catalog.h"
#include "image/ensure.h"
#include "image/tags.h"

#include <string.h>

int provide_made(struct image *ret, struct host *host, const struct call *call, const struct language *l,
                 bool make_nothing, struct error *e)
{
    if (make_nothing) {
        int current = image_find_current(ret, &host->config, &host->home, l->name, &l->recipe, e);
        if (current <= 0)
            return current < 0 ? -1 : error_set(e, ERROR_NOT_MADE, "the image of %s is not there", l->name);
        image_done(ret);
    }
    return image_ensure(ret, &host->config, &host->home, l->name, &l->recipe, false, &call->cancel, e);
}

/* Whether an image of that reference can be made, with what to make it from. ERROR_NONE in *e: nothing says how. */
static bool find_definition(struct language *ret, const char *data, const char *reference, struct error *e)
{
    const char *name = image_reference_language(reference), *tag = image_reference_tag(reference);

    *ret = (struct language){0};
    if (name && language_find(ret, data, name, e) == 0)
        return true;
    if (!name && tag && recipe_find(&ret->recipe, data, tag, e) == 0) {
        ret->name = text_copy(tag);
        return true;
    }
    if (e->kind == ERROR_UNKNOWN_LANGUAGE || e->kind == ERROR_NOT_FOUND)
        *e = (struct error){0};
    return false;
}

int provide_image(struct image *ret, struct host *host, const struct call *call, const char *reference,
                  bool make_nothing, struct error *e)
{
    struct error missing = {0};
    struct language l;

    int result = image_resolve(ret, &host->home, reference, &missing);
    if (result == 0)
        return 0;
    if (missing.kind == ERROR_NOT_FOUND && find_definition(&l, host->config.data, reference, e)) {
        result = provide_made(ret, host, call, &l, make_nothing, e);
        if (result == 0 && provide_tag(ret, host, call, e) < 0) {
            image_done(ret);
            result = -1;
        }
        language_done(&l);
    } else if (!e->kind) {
        *e = missing;
    }
    return result;
}

int provide_tag(const struct image *i, const struct host *host, const struct call *call, struct error *e)
{
    struct error why = {0};
    struct recipe r;

    if (recipe_find(&r, host->config.data, i->name, &why) < 0)
        return 0;
    recipe_done(&r);
    int result = image_tag(i, &host->home, i->name, NULL, &call->cancel, e);
    if (result == 0)
        catalog_follow_tag(&host->home, i->name);
    return result;
}
