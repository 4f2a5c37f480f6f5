/* The smallest program: what a benchmark of starting programs starts. */
int main(void)
{
    return 0;
}
